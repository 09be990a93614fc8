//! Sends requests to the router, without a network.
#![allow(dead_code, reason = "shared by tests, of which each uses a part")]

use crate::fake::Fake;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use siding_agent::view::{Device, View};
use siding_page::{PageOptions, router};
use std::sync::Arc;
use tower::ServiceExt;

pub(crate) struct Client {
    pub(crate) device: Arc<Fake>,
    pub(crate) cookie: Option<String>,
    router: axum::Router,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
    headers: HeaderMap,
}

impl Client {
    pub(crate) fn new(view: View, options: PageOptions) -> Self {
        let device = Arc::new(Fake::new(view));
        Self { router: router(device.clone(), options), cookie: None, device }
    }

    /// Over a device of one's own; what the client's fake is asked is nothing then.
    pub(crate) fn over(device: Arc<dyn Device>, options: PageOptions) -> Self {
        Self { router: router(device, options), cookie: None, device: Arc::new(Fake::new(View::default())) }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "localhost", &[], "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Reply {
        self.post_with(path, body, &[])
    }

    pub(crate) fn post_with(&self, path: &str, body: &str, more: &[(&str, &str)]) -> Reply {
        let form = [&[("content-type", "application/x-www-form-urlencoded")], more].concat();
        self.send("POST", path, "localhost", &form, body)
    }

    /// One request; an empty host is none.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        host: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if !host.is_empty() {
            request = request.header("host", host);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", format!("other=1; {cookie}"));
        }
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.expect("never fails");
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, 1 << 24).await.expect("a body");
            let body = String::from_utf8(body.to_vec()).expect("text");
            Reply { status: parts.status.as_u16(), headers: parts.headers, body }
        })
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What lies between these two, the first time.
    pub(crate) fn between(&self, before: &str, after: &str) -> Option<&str> {
        self.body.split_once(before)?.1.split_once(after).map(|(found, _)| found)
    }
}

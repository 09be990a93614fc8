//! Requests in, answers out.

use crate::guard::{self, Refusal};
use crate::html::{self, Shown};
use crate::shared::{Shared, Silence};
use crate::words::Clock;
use crate::{PageOptions, metrics};
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, Form, Request, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE, LOCATION, REFRESH, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use siding_agent::view::{Ask, Device};
use std::sync::Arc;

/// The page as a service: every route, every refusal, no network.
///
/// It must be run on a tokio runtime with its timer enabled; what blocks is done on that runtime's blocking threads.
pub fn router(device: Arc<dyn Device>, options: PageOptions) -> Router {
    let shared = Arc::new(Shared::new(device, options));
    Router::new()
        .route("/", get(page))
        .route("/view.json", get(json))
        .route("/metrics", get(numbers))
        .route("/style.css", get(style))
        .route("/check", post(change))
        .route("/install", post(change))
        .route("/remove", post(change))
        .route("/restart", post(change))
        .route("/set", post(change))
        .fallback(async || trouble(StatusCode::NOT_FOUND, "There is no such page here."))
        .method_not_allowed_fallback(async || {
            trouble(StatusCode::METHOD_NOT_ALLOWED, "This address is for the page's own buttons.")
        })
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guarded))
        .with_state(shared)
}

/// Around every request: it is refused before anything reads it, and every answer is hardened.
async fn guarded(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let allowed = guard::may_ask(request.uri(), request.headers(), &shared.options).and_then(|()| {
        if guard::is_safe(request.method()) {
            Ok(())
        } else {
            guard::may_change(request.headers(), &shared.options)
        }
    });
    let mut response = match allowed {
        Ok(()) => next.run(request).await,
        Err(refusal) => refused(refusal),
    };
    guard::harden(response.headers_mut());
    // One request a connection: so its deadline is the request's.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn page(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let view = match shared.device(|device| device.view()).await {
        Ok(view) => view,
        Err(silence) => return silent(silence),
    };
    let query = uri.query().unwrap_or_default();
    let said = query.split('&').find_map(|part| part.strip_prefix("said="));
    let shown = Shown {
        clock: Clock { now: view.now, zone: shared.options.zone.clone() },
        token: shared.secret.as_ref().map(|secret| secret.token.as_str()),
        answer: said.and_then(|number| shared.take(number.parse().ok()?)),
        follows: !query.split('&').any(|part| part == "still"),
    };
    let mut response = Html(html::page(&view, &shown).into_string()).into_response();
    if let Some(secret) = &shared.secret {
        set(&mut response, SET_COOKIE, &secret.set_cookie());
    }
    if view.activity.is_some() && shown.follows {
        let seconds = if shown.answer.is_some() { 10 } else { 4 };
        set(&mut response, REFRESH, &format!("{seconds}; url=/"));
    }
    response
}

async fn json(State(shared): State<Arc<Shared>>) -> Response {
    match shared.device(|device| serde_json::to_vec(&device.view())).await {
        Ok(Ok(body)) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        Ok(Err(_)) => silent(Silence::Broken),
        Err(silence) => silent(silence),
    }
}

async fn numbers(State(shared): State<Arc<Shared>>) -> Response {
    match shared.device(|device| metrics::text(&device.view())).await {
        Ok(body) => ([(CONTENT_TYPE, metrics::TYPE)], body).into_response(),
        Err(silence) => silent(silence),
    }
}

async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css")).into_response()
}

/// What any of the page's forms carries; each route takes what it needs.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    token: String,
    id: Option<String>,
    component: Option<String>,
    name: Option<String>,
    value: Option<String>,
}

/// The token is looked at before what is asked, and what was asked is done once the device says so.
async fn change(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    form: Result<Form<Fields>, FormRejection>,
) -> Response {
    let fields = match form {
        Ok(Form(fields)) => fields,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return trouble(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The form is larger than any of this page's forms.",
            );
        }
        Err(_) => return trouble(StatusCode::BAD_REQUEST, "This is not one of this page's forms."),
    };
    if !shared.secret.as_ref().is_some_and(|secret| secret.is_shown(&headers, &fields.token)) {
        return refused(Refusal::Token);
    }
    let Some(ask) = meant(uri.path(), fields) else {
        return trouble(StatusCode::BAD_REQUEST, "The form lacks what it should say; nothing was changed.");
    };
    let answer = match shared.device(move |device| device.ask(ask)).await {
        Ok(answer) => answer,
        Err(Silence::Slow) => {
            Ok("This takes longer than usual; it goes on, and the history will say how it ends.".into())
        }
        Err(silence) => return silent(silence),
    };
    let mut response = StatusCode::SEE_OTHER.into_response();
    set(&mut response, LOCATION, &format!("/?said={}", shared.keep(answer)));
    response
}

fn meant(path: &str, fields: Fields) -> Option<Ask> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    Some(match path {
        "/check" => Ask::Check,
        "/install" => Ask::Install(given(fields.id)?),
        "/remove" => Ask::Remove(given(fields.component)),
        "/restart" => Ask::Restart,
        "/set" => Ask::Set(given(fields.name)?, fields.value?),
        _ => return None,
    })
}

fn refused(refusal: Refusal) -> Response {
    trouble(
        if refusal == Refusal::Host { StatusCode::MISDIRECTED_REQUEST } else { StatusCode::FORBIDDEN },
        refusal.words(),
    )
}

fn silent(silence: Silence) -> Response {
    let (status, words) = match silence {
        Silence::Busy => {
            (StatusCode::SERVICE_UNAVAILABLE, "Too many requests are waiting already. Try again in a moment.")
        }
        Silence::Slow => {
            (StatusCode::SERVICE_UNAVAILABLE, "The device takes long to answer. Try again in a moment.")
        }
        Silence::Broken => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "The agent failed while it answered. Its log says why; “siding status” asks the device itself.",
        ),
    };
    let mut response = trouble(status, words);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        set(&mut response, RETRY_AFTER, "5");
    }
    response
}

fn trouble(status: StatusCode, words: &str) -> Response {
    (status, Html(html::trouble(status, words).into_string())).into_response()
}

/// Sets a header to text of ours, which is always valid.
fn set(response: &mut Response, name: axum::http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// In bytes: a free-text setting may be long, nothing else is.
const LARGEST_FORM: usize = 8 * 1024;

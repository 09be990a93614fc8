//! Requests through the real router to a device that is none: every route, every state, every refusal.

mod client;
mod fake;

use client::{Client, Reply};
use fake::states;
use siding_agent::view::{Ask, Device, View};
use siding_page::PageOptions;

/// The page as opened once, with its cookie and token.
fn opened(view: View) -> (Client, String) {
    let mut client = Client::new(view, PageOptions::default().utc());
    let page = client.get("/");
    assert_eq!(page.status, 200);
    let cookie = page.header("set-cookie").expect("a cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    client.cookie = cookie.split(';').next().map(str::to_owned);
    let token = page.between("name=\"token\" value=\"", "\"").expect("a token").to_owned();
    assert_eq!(token.len(), 64);
    (client, token)
}

/// What the device was asked when a form of ours was sent, and what the page says then.
fn sent(path: &str, fields: &str) -> (Vec<Ask>, Reply) {
    let (client, token) = opened(states::available());
    let reply = client.post(path, &format!("token={token}&{fields}"));
    assert_eq!(reply.status, 303, "{path}: {}", reply.body);
    let place = reply.header("location").expect("a place").to_owned();
    let page = client.get(&place);
    assert!(page.body.contains("role=\"status\""), "nothing is said after {path}");
    assert!(!client.get(&place).body.contains("class=\"answer"), "{path} says it twice");
    (client.device.asked(), page)
}

#[test]
fn every_form_does_what_it_says_and_says_so_once() {
    let install = Ask::Install("2026-09-openssl".to_owned());
    let cases = [
        ("/check", "", Ask::Check, "Nothing new was found."),
        ("/install", "id=2026-09-openssl", install, "2026-09-openssl is being installed."),
        ("/remove", "component=webkit", Ask::Remove(Some("webkit".to_owned())), "The base is in use again."),
        ("/remove", "", Ask::Remove(None), "The base is in use again."),
        ("/restart", "", Ask::Restart, "What had to restart was restarted."),
        (
            "/set",
            "name=restart&value=ask",
            Ask::Set("restart".to_owned(), "ask".to_owned()),
            "restart is ask now.",
        ),
        ("/set", "name=window&value=", Ask::Set("window".to_owned(), String::new()), "window is  now."),
    ];
    for (path, fields, ask, says) in cases {
        let (asked, page) = sent(path, fields);
        assert_eq!(asked, [ask], "{path}");
        assert!(page.body.contains(says), "{path}: {}", page.body);
    }
}

#[test]
fn a_device_that_says_no_is_quoted() {
    let (_, page) = sent("/set", "name=removal&value=forbidden");
    assert!(
        page.body.contains("Not done. ") && page.body.contains("removal is locked by /etc/siding/lock.toml.")
    );
    let (_, page) = sent("/install", "id=%3Cb%3E");
    assert!(page.body.contains("There is no release &lt;b&gt; to install."), "{}", page.body);
}

#[test]
fn what_is_shown_is_the_view() {
    for (name, view) in states::all() {
        let client = Client::new(view.clone(), PageOptions::default().utc());
        let json = client.get("/view.json");
        assert_eq!((json.status, json.header("content-type")), (200, Some("application/json")), "{name}");
        assert_eq!(json.body, serde_json::to_string(&view).expect("JSON"), "{name}");
        let page = client.get("/");
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, Some("text/html; charset=utf-8")),
            "{name}"
        );
        for offer in &view.offers {
            assert!(page.body.contains(&escaped(&offer.id)), "{name} hides {}", offer.id);
            assert!(page.body.contains(&escaped(&offer.reason)), "{name} hides why {}", offer.id);
        }
        for setting in &view.settings {
            assert!(
                page.body.contains(&escaped(&setting.from)),
                "{name} hides where {} is set",
                setting.name
            );
        }
        for line in &view.history {
            assert!(page.body.contains(&escaped(&line.text)), "{name} hides {}", line.text);
        }
    }
}

#[test]
fn states_read_as_they_are() {
    let body = |view: View| Client::new(view, PageOptions::default().utc()).get("/").body;
    let says = |view: View, words: &[&str]| {
        let body = body(view);
        for word in words {
            assert!(body.contains(word), "{word} is not in {body}");
        }
    };
    says(states::nothing(), &["Nothing was looked for yet", "No component is installed", "Never yet"]);
    says(
        states::quiet(),
        &["Everything is up to date", "26.3.1 (b)", "6 days ago", "15 Sep 2026, 14:13", "CVE-2026-38802"],
    );
    says(
        states::available(),
        &["1 fix will be installed by itself", "in 12 hours", "base-too-old", "Install now"],
    );
    says(
        states::downloading(),
        &["Downloading 2026-09-webkit-2", "63 %, 15.9 KB of 24.8 KB, for 4 s", "<progress"],
    );
    says(
        states::on_trial(),
        &["26.3.1 (c) is on trial", "after 2 more starts", "Restart now", "cog.service"],
    );
    says(
        states::rolled_back(),
        &["did not work and was taken back", "connection refused", "no answer within 30 s"],
    );
    says(states::all_locked(), &["The administrator has locked all settings."]);
    let locked = body(states::all_locked());
    for absent in ["action=\"/set\"", "action=\"/remove\"", "Turn off", "<select"] {
        assert!(!locked.contains(absent), "{absent} although all is locked");
    }
    assert!(body(states::many()).matches("<article").count() >= 100);
}

#[test]
fn a_page_reloads_only_while_something_is_under_way_and_can_be_kept_still() {
    let reloads =
        |view, path: &str| Client::new(view, PageOptions::default()).get(path).header("refresh").is_some();
    assert!(reloads(states::downloading(), "/"));
    assert!(!reloads(states::downloading(), "/?still"));
    for (name, view) in states::all() {
        assert_eq!(reloads(view.clone(), "/"), view.activity.is_some(), "{name}");
    }
}

#[test]
fn nothing_from_outside_becomes_markup() {
    let page = Client::new(states::hostile(), PageOptions::default()).get("/").body;
    let ours = Client::new(states::available(), PageOptions::default()).get("/").body;
    assert!(page.contains("&lt;script&gt;alert(1)"));
    for never in
        ["<script", "<img", "onerror=\"", "javascript:", "style=", "src=", "http-equiv", "https:", "//"]
    {
        assert!(!ours.contains(never), "{never} on a page of ours");
    }
    for never in ["<script", "<img"] {
        assert!(!page.contains(never), "{never} came through");
    }
    // Each attribute that begins ends: quotes come in pairs within every tag.
    for tag in page.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
    }
}

#[test]
fn what_changes_something_is_refused_unless_it_is_ours() {
    let (client, token) = opened(states::available());
    let other = opened(states::available());
    let body = format!("token={token}&id=2026-09-openssl");
    let refused = |client: &Client, body: &str, more: &[(&str, &str)], status: u16, why: &str| {
        let reply = client.post_with("/install", body, more);
        assert_eq!(reply.status, status, "{why}");
        assert!(reply.body.contains("Back to the page"), "{why}");
        assert_eq!(client.device.asked(), [], "{why}");
    };
    refused(&client, "id=2026-09-openssl", &[], 403, "no token");
    refused(&client, &body.replace(&token, ""), &[], 403, "an empty token");
    refused(&client, &body.replace(&token, &other.1), &[], 403, "the token of another run");
    refused(&client, &body.replace(&token, &token[1..]), &[], 403, "a part of the token");
    refused(&client, &body, &[("origin", "http://evil.example")], 403, "another origin");
    refused(&client, &body, &[("origin", "null")], 403, "a hidden origin");
    refused(&client, &body, &[("origin", "http://localhost:1")], 403, "another port's origin");
    refused(
        &client,
        &body,
        &[("origin", "http://localhost"), ("origin", "http://localhost")],
        403,
        "two origins",
    );
    for site in ["cross-site", "same-site", "none", ""] {
        let both = [("sec-fetch-site", site), ("origin", "http://localhost")];
        refused(&client, &body, &both, 403, site);
    }
    refused(&client, "token=%FF", &[], 403, "not UTF-8");
    refused(&client, &format!("token={token}"), &[], 400, "no release");
    refused(&client, &format!("{body}&junk={}", "x".repeat(10_000)), &[], 413, "too large");
    let mut without = other.0;
    without.cookie = None;
    refused(&without, &format!("token={}&id=1", other.1), &[], 403, "no cookie");
    without.cookie = client.cookie.clone();
    refused(&without, &format!("token={}&id=1", other.1), &[], 403, "the cookie of another run");
    // And the same request, when nothing is wrong with it, is done.
    for more in [&[][..], &[("origin", "http://LOCALHOST")], &[("sec-fetch-site", "same-origin")]] {
        assert_eq!(client.post_with("/install", &body, more).status, 303);
    }
    assert_eq!(client.device.asked().len(), 3);
}

#[test]
fn a_form_that_is_no_form_is_refused() {
    let (client, token) = opened(states::available());
    let reply = client.send(
        "POST",
        "/check",
        "localhost",
        &[("content-type", "text/plain")],
        &format!("token={token}"),
    );
    assert_eq!(reply.status, 400);
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let reply = client.send(method, "/check", "localhost", &[], "");
        assert_eq!(reply.status, 405, "{method}");
    }
    assert_eq!(client.device.asked(), []);
}

#[test]
fn another_hosts_name_is_refused_for_everything() {
    let (client, token) = opened(states::available());
    for host in ["evil.example", "evil.example:7410", "192.168.0.7", "localhost.evil.example", ""] {
        for path in ["/", "/view.json", "/metrics", "/style.css"] {
            assert_eq!(client.send("GET", path, host, &[], "").status, 421, "{host} {path}");
        }
        assert_eq!(client.send("POST", "/check", host, &[], &format!("token={token}")).status, 421, "{host}");
    }
    assert_eq!(
        client.send("GET", "http://evil.example/", "localhost", &[], "").status,
        421,
        "a target elsewhere"
    );
    assert_eq!(client.device.asked(), []);
    for host in ["localhost", "127.0.0.1:7410", "[::1]:7410"] {
        assert_eq!(client.send("GET", "/", host, &[], "").status, 200, "{host}");
    }
    let behind = Client::new(states::quiet(), PageOptions::default().also_named("till.example"));
    assert_eq!(behind.send("GET", "/", "till.example", &[], "").status, 200);
}

#[test]
fn a_page_that_only_shows_has_no_buttons_and_changes_nothing() {
    let client = Client::new(states::on_trial(), PageOptions::default().read_only());
    let page = client.get("/");
    assert!(!page.body.contains("<form") && page.header("set-cookie").is_none());
    assert!(page.body.contains("corner-shop.service"));
    assert_eq!(client.post("/check", "token=").status, 403);
    assert_eq!(client.device.asked(), []);
}

#[test]
fn every_answer_is_hardened() {
    let (client, _) = opened(states::quiet());
    let answers = [
        client.get("/"),
        client.get("/view.json"),
        client.get("/metrics"),
        client.get("/style.css"),
        client.get("/nowhere"),
        client.get("/install"),
        client.post("/install", ""),
        client.send("GET", "/", "evil.example", &[], ""),
    ];
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 404, 405, 403, 421]);
    for answer in answers {
        let policy = answer.header("content-security-policy").expect("a policy");
        for part in [
            "default-src 'none'",
            "style-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("script"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[test]
fn a_device_that_panics_costs_one_answer() {
    struct Broken;
    impl Device for Broken {
        fn view(&self) -> View {
            std::panic::resume_unwind(Box::new("on purpose"))
        }
        fn ask(&self, _: Ask) -> Result<String, String> {
            Err(String::new())
        }
    }
    let client = Client::over(std::sync::Arc::new(Broken), PageOptions::default());
    for path in ["/", "/view.json", "/metrics"] {
        assert_eq!(client.get(path).status, 500, "{path}");
    }
    assert_eq!(client.get("/style.css").status, 200);
}

/// As maud escapes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

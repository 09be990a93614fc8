//! Who may ask: every refusal is here, and nothing else is.
//!
//! ```text
//! every request    the Host header names this machine          else a page elsewhere could rebind its name to us
//! a change         comes from our page, as the browser says it else another page could send its visitor's form
//!                  shows the cookie and the token of this run  else it never saw our page
//! every answer     runs nothing, loads nothing, is framed nowhere, kept nowhere
//! ```

use crate::PageOptions;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, Uri};
use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Why a request is refused: for the person who sent it, or whose browser did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The Host header is missing, double, or names something else.
    Host,
    /// The browser says that it comes from another site.
    Origin,
    /// The cookie or the form's token is missing or wrong.
    Token,
    /// The page only shows.
    ReadOnly,
}

impl Refusal {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Host => {
                "The request named another host. Open the page as localhost, 127.0.0.1 or [::1]; a proxy's name has \
                 to be told to the page first."
            }
            Self::Origin => {
                "The request came from another site, so nothing was changed. Use the buttons on this page."
            }
            Self::Token => {
                "The form was not one that this page gave out since it was started, so nothing was changed. Go back \
                 to the page, which is fresh then, and try again. Cookies for this address must be allowed."
            }
            Self::ReadOnly => {
                "This page only shows. Use the command line to change something; nothing was changed."
            }
        }
    }
}

/// Whether a request may be answered at all.
pub(crate) fn may_ask(uri: &Uri, headers: &HeaderMap, options: &PageOptions) -> Result<(), Refusal> {
    let named = only(headers, header::HOST).ok_or(Refusal::Host)?;
    let in_target = uri.authority().map_or(named, |authority| authority.as_str());
    if is_here(named, options) && is_here(in_target, options) { Ok(()) } else { Err(Refusal::Host) }
}

/// Whether it may change something, but for the token.
pub(crate) fn may_change(headers: &HeaderMap, options: &PageOptions) -> Result<(), Refusal> {
    if options.read_only {
        return Err(Refusal::ReadOnly);
    }
    // A browser that says how the request came about is believed; pages cannot set this header.
    if headers.contains_key("sec-fetch-site") {
        let same = only(headers, HeaderName::from_static("sec-fetch-site")) == Some("same-origin");
        return if same { Ok(()) } else { Err(Refusal::Origin) };
    }
    if !headers.contains_key(header::ORIGIN) {
        return Ok(()); // a text browser; the token decides
    }
    let origin = only(headers, header::ORIGIN).ok_or(Refusal::Origin)?;
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let here = only(headers, header::HOST).ok_or(Refusal::Host)?;
    let same = authority.is_some_and(|authority| authority.eq_ignore_ascii_case(here));
    if same { Ok(()) } else { Err(Refusal::Origin) }
}

/// What only this run's page knows: one half lies in the browser, the other in each form.
pub(crate) struct Secret {
    cookie: String,
    /// What a form carries.
    pub(crate) token: String,
}

impl Secret {
    /// A new one; none if the kernel has no randomness to give, and then nobody may change anything.
    pub(crate) fn new() -> Option<Self> {
        Some(Self { cookie: random()?, token: random()? })
    }

    /// Sets the browser's half: not for scripts, and not sent along from other sites.
    pub(crate) fn set_cookie(&self) -> String {
        format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie)
    }

    /// Whether both halves are shown. How long this takes does not tell how much of a guess was right.
    pub(crate) fn is_shown(&self, headers: &HeaderMap, token: &str) -> bool {
        let cookies = headers.get_all(header::COOKIE);
        let cookies = cookies.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
        let mut ours = cookies.filter_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='));
        let cookie = ours.next().unwrap_or_default();
        let (cookie, token) = (same(cookie, &self.cookie), same(token, &self.token));
        cookie && token && ours.next().is_none()
    }
}

/// What every answer says about itself.
pub(crate) fn harden(headers: &mut HeaderMap) {
    for (name, value) in HARDENED {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

/// Whether this method never changes anything.
pub(crate) fn is_safe(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// The value of a header that is there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Whether `host` or `host:port` is this machine. Addresses cannot be rebound; of names only ours are believed.
fn is_here(authority: &str, options: &PageOptions) -> bool {
    if let Some(rest) = authority.strip_prefix('[') {
        let address = rest.split_once(']').filter(|(_, port)| is_port(port)).map(|(address, _)| address);
        return address.and_then(|address| address.parse().ok()).is_some_and(|ip: Ipv6Addr| ip.is_loopback());
    }
    let (host, port) = authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon));
    let host = host.to_ascii_lowercase();
    let loopback = host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback());
    is_port(port) && (loopback || host == "localhost" || options.names.contains(&host))
}

/// Nothing, or a colon and digits.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

fn same(a: &str, b: &str) -> bool {
    let differ = a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
    a.len() == b.len() && differ == 0
}

/// 256 bits from the kernel, in hexadecimal.
fn random() -> Option<String> {
    let mut bytes = [0_u8; 32];
    let got = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).ok()?;
    (got == bytes.len()).then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

const COOKIE: &str = "siding-page";

/// The referrer policy is not `no-referrer`: a form's Origin header would then read `null` in browsers.
const HARDENED: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cache-control", "no-store"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_here() {
        let options = PageOptions::default().also_named("Device.Example");
        let yes = [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1",
            "127.8.9.1:8080",
            "[::1]",
            "[::1]:1",
            "device.example:9",
        ];
        let no = [
            "",
            ":80",
            "localhost.",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.168.0.1",
            "[::2]",
            "[::1",
            "[::1]x",
            "::1",
            "localhost:",
            "localhost:80:80",
            "localhost:99999",
            "0.0.0.0",
            "evil@localhost",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "[::ffff:127.0.0.1]",
        ];
        for host in yes {
            assert!(is_here(host, &options), "{host}");
        }
        for host in no {
            assert!(!is_here(host, &options), "{host}");
        }
        assert!(!is_here("device.example", &PageOptions::default()));
    }

    #[test]
    fn comparing_takes_all_of_both() {
        assert!(same("", "") && same("abc", "abc"));
        for (a, b) in [("abc", "abd"), ("abc", "ab"), ("ab", "abc"), ("", "a"), ("a", "")] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn each_run_has_its_own_secret() {
        let (one, two) = (Secret::new().expect("randomness"), Secret::new().expect("randomness"));
        assert_eq!((one.token.len(), one.cookie.len()), (64, 64));
        assert!(one.token != two.token && one.token != one.cookie);
    }
}

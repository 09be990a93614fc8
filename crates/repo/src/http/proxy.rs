//! Which proxy a request goes through.

use url::Url;

/// Proxies by scheme, and for which hosts none is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The proxy for `http:`, such as `http://proxy:3128`.
    pub http: Option<String>,
    /// The proxy for `https:`.
    pub https: Option<String>,
    /// Hosts without one: `*`, or names separated by commas, each also for what lies below it.
    pub none: String,
}

impl Proxies {
    /// Those of `http_proxy`, `https_proxy` (or `HTTPS_PROXY`), `all_proxy` (or `ALL_PROXY`), `no_proxy` (or
    /// `NO_PROXY`). `HTTP_PROXY` in capitals is not heard, since a web server may set it for its visitors.
    pub fn from_environment() -> Self {
        let first = |names: &[&str]| {
            names.iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.trim().is_empty())
        };
        let all = first(&["all_proxy", "ALL_PROXY"]);
        Self {
            http: first(&["http_proxy"]).or_else(|| all.clone()),
            https: first(&["https_proxy", "HTTPS_PROXY"]).or(all),
            none: first(&["no_proxy", "NO_PROXY"]).unwrap_or_default(),
        }
    }

    /// The proxy for this address.
    pub(crate) fn of(&self, url: &Url) -> Option<&str> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        if self.spares(host, url.port_or_known_default()) { None } else { proxy.as_deref() }
    }

    fn spares(&self, host: &str, port: Option<u16>) -> bool {
        self.none.split(',').map(str::trim).filter(|name| !name.is_empty()).any(|name| {
            if name == "*" {
                return true;
            }
            let name = match name.rsplit_once(':') {
                Some((name, digits)) if !name.contains(':') && digits.parse().ok() == port => name,
                _ => name,
            };
            let name = name.trim_start_matches("*.").trim_start_matches('.').trim_matches(['[', ']']);
            let below = host.len().checked_sub(name.len()).map(|at| host.split_at(at));
            below.is_some_and(|(before, end)| {
                end.eq_ignore_ascii_case(name) && (before.is_empty() || before.ends_with('.'))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_spared_by_its_name_or_a_name_above_it() {
        let proxies = Proxies {
            http: Some("http://p:1".into()),
            https: None,
            none: "example.com, .local,[::1], 10.0.0.1, a.b:81".into(),
        };
        let of = |url: &str| proxies.of(&Url::parse(url).unwrap()).is_some();
        assert!(of("http://other.com/") && of("http://notexample.com/") && of("http://com/"));
        assert!(!of("http://example.com/") && !of("http://EU.example.com/") && !of("http://x.local/"));
        assert!(!of("http://[::1]:8/") && !of("http://10.0.0.1/") && of("http://10.0.0.11/"));
        assert!(!of("http://a.b:81/") && of("http://a.b/"));
        assert!(!of("https://other.com/"), "no proxy for https is set");
        assert!(
            Proxies { none: "*".into(), ..proxies }.of(&Url::parse("http://other.com/").unwrap()).is_none()
        );
    }
}

//! The local page of a device: what is installed, what is pending and why, and the switches.
//!
//! It shows a [`View`](siding_agent::view::View) and passes on what is asked; it decides nothing and keeps nothing
//! but what was answered last. A power cut takes nothing that is here.
//!
//! ```text
//! GET  /            the page            POST /check  /install  /remove  /restart  /set
//! GET  /view.json   the same as JSON         a form each; what was answered is shown once
//! GET  /metrics     for Prometheus      GET  /style.css
//! ```
//!
//! [`router`] is the page without a network, [`bind`] and [`serve`] put it on a loopback address or a unix socket.
//! No request changes anything unless it names this machine, comes from this page, and shows the token that this
//! page was given (`guard.rs`). Nothing on the page runs, and nothing is fetched from elsewhere.

mod guard;
mod html;
mod listen;
mod metrics;
mod routes;
mod serve;
mod shared;
mod words;

pub use listen::{Error, Listen};
pub use routes::router;
pub use serve::{Bound, Stop, bind, serve};

use jiff::tz::TimeZone;

/// How the page is shown. The default is what a device wants.
#[derive(Clone, Debug)]
pub struct PageOptions {
    names: Vec<String>,
    zone: TimeZone,
    read_only: bool,
}

impl Default for PageOptions {
    fn default() -> Self {
        Self { names: vec![], zone: TimeZone::system(), read_only: false }
    }
}

impl PageOptions {
    /// Also answers requests for this host name: that of a proxy before the page, which says who may use it.
    ///
    /// Without it only `localhost` and loopback addresses are answered, whatever the page listens on.
    #[must_use]
    pub fn also_named(mut self, name: &str) -> Self {
        self.names.push(name.to_ascii_lowercase());
        self
    }

    /// Shows times in UTC instead of the device's own zone.
    #[must_use]
    pub fn utc(mut self) -> Self {
        self.zone = TimeZone::UTC;
        self
    }

    /// Shows everything and changes nothing: no buttons, and every request to change something is refused.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }
}

//! Where the page may be reached, and what can be wrong with that.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the page is reached. Nothing beyond this machine can be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A loopback address. Everybody who has an account here can then use the page.
    Tcp(SocketAddr),
    /// A unix socket and its mode, such as `0o660`: its owner and group decide who can use the page.
    Unix(PathBuf, u32),
}

/// The page cannot be served.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The text is no place to listen on.
    Unreadable(String),
    /// The address can be reached from other machines.
    NotLoopback(SocketAddr),
    /// Another process answers at the socket.
    InUse(PathBuf),
    /// Something that is no socket lies where the socket would be.
    NotASocket(PathBuf),
    /// The address or socket cannot be had.
    Bind(Listen, io::Error),
    /// Serving could not begin, or ended by itself.
    Serve(io::Error),
}

impl FromStr for Listen {
    type Err = Error;

    /// Reads `127.0.0.1:7410`, `[::1]:7410`, `unix:/run/siding/page.sock` or `unix:/run/siding/page.sock,mode=600`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let unreadable = || Error::Unreadable(text.to_owned());
        let Some(place) = text.strip_prefix("unix:") else {
            let address: SocketAddr = text.parse().map_err(|_| unreadable())?;
            return if address.ip().is_loopback() {
                Ok(Self::Tcp(address))
            } else {
                Err(Error::NotLoopback(address))
            };
        };
        let (path, mode) = place.split_once(",mode=").unwrap_or((place, "660"));
        let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o777).ok_or_else(unreadable)?;
        if path.starts_with('/') { Ok(Self::Unix(path.into(), mode)) } else { Err(unreadable()) }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}/"),
            Self::Unix(path, mode) => write!(f, "unix:{},mode={mode:o}", path.display()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(text) => write!(
                f,
                "the page cannot listen on {text:?}: expected 127.0.0.1:PORT, [::1]:PORT or unix:/PATH[,mode=660]"
            ),
            Self::NotLoopback(address) => write!(
                f,
                "the page is not served on {address}, which other machines can reach; use 127.0.0.1, [::1] or a unix \
                 socket, with a proxy before it that says who may"
            ),
            Self::InUse(path) => {
                write!(f, "{}: another process answers here; stop it, or name another socket", path.display())
            }
            Self::NotASocket(path) => {
                write!(
                    f,
                    "{}: expected a socket or nothing, found something else; it is left",
                    path.display()
                )
            }
            Self::Bind(listen, error) => write!(f, "the page cannot listen on {listen}: {error}"),
            Self::Serve(error) => write!(f, "the page cannot be served: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind(_, error) | Self::Serve(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_only_this_machine_is_one() {
        let read =
            |text: &str| text.parse::<Listen>().map(|listen| listen.to_string()).map_err(|e| e.to_string());
        assert_eq!(read("127.0.0.1:7410").as_deref(), Ok("http://127.0.0.1:7410/"));
        assert_eq!(read("[::1]:7410").as_deref(), Ok("http://[::1]:7410/"));
        assert_eq!(read("unix:/run/x").as_deref(), Ok("unix:/run/x,mode=660"));
        assert_eq!(read("unix:/run/x,mode=600").as_deref(), Ok("unix:/run/x,mode=600"));
        for (text, word) in [
            ("0.0.0.0:80", "other machines"),
            ("192.168.1.2:80", "other machines"),
            ("[::]:80", "other machines"),
            ("localhost:80", "expected"),
            ("unix:run/x", "expected"),
            ("unix:/run/x,mode=4777", "expected"),
            ("", "expected"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}

//! Errors in words: what is wrong, expected and got, what to do.

use super::{Error, Place};
use std::fmt;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.mirror, self.path)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup { what } => write!(f, "the repository cannot be used as it is set up: {what}"),
            Self::Expired { role, expired, now } => write!(
                f,
                "the repository's {role} metadata expired at {expired}, and this device's clock says {now} (seconds \
                 since 1970): see that the clock is right; if it is, the maker must sign anew, or a mirror holds \
                 back what is new"
            ),
            Self::Rollback { role, seen, got } => write!(
                f,
                "the repository's {role} metadata has version {got}, and version {seen} was seen before: the mirror \
                 is behind, or somebody offers what was replaced; nothing was changed"
            ),
            Self::NotSigned { role, why } => write!(
                f,
                "the repository's {role} metadata is not signed as it must be: {why}; nothing was changed, the \
                 mirror or the maker must be repaired"
            ),
            Self::Mixed { role, expected, got } => write!(
                f,
                "the repository's {role} metadata has version {got} where the rest names {expected}: the mirror mixes \
                 two states; try again later or use another mirror"
            ),
            Self::Malformed { what, why } => {
                write!(f, "{what} cannot be used: {why}; the mirror or the maker must be repaired")
            }
            Self::WrongDigest { what, expected, got } => write!(
                f,
                "{what} has the digest {got}, and {expected} was signed: it was damaged or replaced on its way; \
                 nothing of it is kept, try again or use another mirror"
            ),
            Self::WrongLength { at, expected, got } => write!(
                f,
                "{at}: {expected} bytes were signed, {got} are served: the mirror's copy is damaged or another one"
            ),
            Self::TooLong { what, limit } => {
                write!(f, "{what} is longer than the {limit} bytes it may have: reading was given up")
            }
            Self::TooMany { what, limit, got } => write!(f, "there are {got} {what}, at most {limit} may be"),
            Self::Slow { at, got, least, window } => write!(
                f,
                "{at}: {got} bytes came in {} seconds, at least {least} were expected: given up; what came is kept",
                window.as_secs_f64()
            ),
            Self::Deadline { at, phase, limit } => {
                write!(f, "{at}: {phase} took more than {} seconds: given up", limit.as_secs_f64())
            }
            Self::Redirect { at, to, why } => write!(f, "{at} redirects to {to}: not followed, {why}"),
            Self::Range { at, expected, got } => {
                write!(f, "{at}: {expected} was asked for, the answer is {got}: not used")
            }
            Self::NotFound { at } => write!(f, "{at}: no such file there; is the mirror complete?"),
            Self::Status { at, got } => write!(f, "{at}: an answer of no use: {got}"),
            Self::Network { at, why } => {
                write!(f, "{at}: {why}; see the network, the proxy settings (https_proxy), the mirror's name")
            }
            Self::NoMirror { what, tried } => {
                write!(f, "no mirror could serve {what}")?;
                tried.iter().try_for_each(|error| write!(f, "; {error}"))
            }
            Self::Store { doing, path, why, .. } => write!(f, "cannot {doing} {}: {why}", path.display()),
            Self::Damaged { path, why } => write!(
                f,
                "{} is damaged ({why}), and so is what says which versions were seen: to trust the repository anew \
                 from the root this device was made with, remove the directory by hand",
                path.display()
            ),
            Self::Incomplete { path, name } => write!(
                f,
                "{name} should be in {}, and is not there as it was signed: the next refresh fetches it again, leave \
                 all else as it is",
                path.display()
            ),
            Self::Busy { path } => write!(f, "another process is refreshing {}: wait for it", path.display()),
        }
    }
}

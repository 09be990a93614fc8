//! How a verb fails: a message for people and a code for scripts.

use crate::output::plain;
use serde_json::json;
use siding_patch::Fault;
use siding_slot::{Kind, Refusal};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::ExitCode;

/// Why a verb failed, and how the process ends.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    message: String,
    /// Whether it lies in the patch, or in how that goes with what it was given.
    of_patch: bool,
}

/// Exit codes. Few, documented in `siding --help`, and never reused for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    Failed = 1,
    Usage = 2,
    NotForThis = 3,
    Restart = 4,
    NotTrusted = 5,
    Corrupt = 6,
    NoSpace = 7,
    Busy = 8,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), of_patch: false }
    }

    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::new(Code::Failed, message)
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Code::Usage, message)
    }

    fn of_patch(code: Code, message: impl fmt::Display) -> Self {
        Self { of_patch: true, ..Self::new(code, message) }
    }

    /// With the name of the patch, if it is about that.
    pub(crate) fn naming(self, patch: Option<&Path>) -> Self {
        let Some(patch) = patch.filter(|_| self.of_patch) else { return self };
        let name =
            if patch == Path::new("-") { "standard input".into() } else { patch.display().to_string() };
        Self { message: format!("{name}: {}", self.message), ..self }
    }

    /// An operating system's refusal, with what was being done to which file.
    pub(crate) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(code_of_io(error), format!("cannot {doing} {}: {error}", path.display()))
    }

    pub(crate) fn print(&self, as_json: bool) -> ExitCode {
        let code = self.code as u8;
        if as_json {
            eprintln!("{}", json!({ "error": self.message, "code": code }));
        } else {
            let lines: Vec<String> = self.message.lines().map(plain).collect();
            eprintln!("siding: {}", lines.join("\n"));
        }
        ExitCode::from(code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What clap has to say: help and version as they are, errors as JSON if that was asked for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let as_json = std::env::args_os().any(|arg| arg == "--json");
    // clap tells an empty variable as an option without its value.
    let is_empty = |(name, value): &(OsString, OsString)| {
        value.is_empty() && name.as_encoded_bytes().starts_with(b"SIDING_")
    };
    let empty = std::env::vars_os().find(is_empty).map(|(name, _)| name.to_string_lossy().into_owned());
    let hint = empty.map(|name| format!("the variable {name} is set and empty; unset it or give it a value"));
    if error.use_stderr() && as_json {
        let text = error.to_string();
        let text = hint.map_or_else(|| text.clone(), |hint| format!("{}\n{hint}", text.trim_end()));
        return Failure::usage(text.trim_end()).print(true);
    }
    let _ = error.print();
    if let Some(hint) = hint.filter(|_| error.use_stderr()) {
        eprintln!("\n{hint}");
    }
    if error.use_stderr() { ExitCode::from(Code::Usage as u8) } else { ExitCode::SUCCESS }
}

fn code_of_io(error: &io::Error) -> Code {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::NoSpace,
        _ => Code::Failed,
    }
}

impl From<siding_image::Error> for Failure {
    fn from(error: siding_image::Error) -> Self {
        let code = match &error {
            siding_image::Error::Io { source, .. } => code_of_io(source),
            siding_image::Error::Unsupported { .. } => Code::NotForThis,
            siding_image::Error::Differs { .. } | siding_image::Error::Tree(_) => Code::Corrupt,
            _ => Code::Failed,
        };
        Self::new(code, error)
    }
}

impl From<siding_patch::Error> for Failure {
    fn from(error: siding_patch::Error) -> Self {
        let code = match (error.fault(), &error) {
            (Fault::Corrupt, _) => Code::Corrupt,
            (Fault::NotTrusted, _) => Code::NotTrusted,
            (Fault::Caller, _) => Code::Usage,
            (Fault::TooNew, _) => Code::NotForThis,
            (_, siding_patch::Error::Io { source, .. }) => code_of_io(source),
            _ => Code::Failed,
        };
        match error.fault() {
            Fault::Corrupt | Fault::NotTrusted | Fault::TooNew | Fault::Limits => Self::of_patch(code, error),
            _ => Self::new(code, error),
        }
    }
}

impl From<siding_apply::Error> for Failure {
    fn from(error: siding_apply::Error) -> Self {
        use siding_apply::Error;
        let code = match error {
            Error::Patch(error) => return error.into(),
            Error::Source(error) => return error.into(),
            Error::WrongSource { .. } => Code::NotForThis,
            Error::Sink { ref source, .. } => return Self::new(code_of_sink(source), error),
            Error::Memory { .. } => Code::Failed,
            _ => Code::Corrupt,
        };
        Self::of_patch(code, error)
    }
}

/// A store's sink wraps what really went wrong.
fn code_of_sink(error: &io::Error) -> Code {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<siding_slot::Error>());
    inner.map_or_else(|| code_of_io(error), |inner| code_of_slot(inner.kind()))
}

impl From<siding_slot::Error> for Failure {
    fn from(error: siding_slot::Error) -> Self {
        let code = match &error {
            // The same reason as an old epoch in a patch, so the same code.
            siding_slot::Error::Refused(Refusal::BelowFloor { .. }) => Code::NotTrusted,
            error => code_of_slot(error.kind()),
        };
        // A command of a projection waits for a store that is not given back before it ends.
        if code == Code::Busy && std::env::var_os(siding_projection::MARK).is_some() {
            let hint = "this runs as a projection's command, whose caller holds the store until it ends: use the \
                        SIDING_ variables or `siding status`, and change the store later";
            return Self::new(code, format!("{error} ({hint})"));
        }
        Self::new(code, error)
    }
}

fn code_of_slot(kind: Kind) -> Code {
    match kind {
        Kind::NotFound | Kind::Refused | Kind::Denied => Code::NotForThis,
        Kind::Busy => Code::Busy,
        Kind::NoSpace => Code::NoSpace,
        Kind::Corrupt => Code::Corrupt,
        Kind::Usage => Code::Usage,
        _ => Code::Failed,
    }
}

impl From<siding_agent::Error> for Failure {
    fn from(error: siding_agent::Error) -> Self {
        use siding_agent::Error;
        let code = match error {
            Error::Patch(error) => return error.into(),
            Error::Apply(error) => return error.into(),
            Error::Slot(error) => return error.into(),
            Error::Source(_) | Error::Damaged { .. } => Code::Corrupt,
            Error::Proc { .. } | Error::Memory { .. } => Code::Failed,
            Error::Checks { .. } => Code::Usage,
            Error::Unpromised { .. } => Code::Corrupt,
            Error::GaveWay => Code::Busy,
            Error::Expired { .. } | Error::OldEpoch { .. } => Code::NotTrusted,
            _ => Code::NotForThis,
        };
        Self::new(code, error)
    }
}

#[cfg(feature = "make")]
impl From<siding_diff::Error> for Failure {
    fn from(error: siding_diff::Error) -> Self {
        match error {
            siding_diff::Error::Image(error) => error.into(),
            siding_diff::Error::Patch(error) => error.into(),
            error @ siding_diff::Error::Kinds { .. } => Self::usage(error),
            error => Self::failed(error),
        }
    }
}

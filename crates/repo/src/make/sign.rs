//! Signing metadata: canonical JSON (OLPC) is what is signed, sorted JSON is what is written.

use super::keys::{Held, KeyId, Keys, Role};
use super::{Error, Span};
use serde::Serialize;
use std::num::NonZeroU64;
use tough::schema::{self, Root, Signature, Signed};

/// Metadata's own version, as other tools of TUF write it: what counts is the first number.
pub(crate) const SPEC: &str = "1.0.0";

/// Signs for every one of `roots`: by as many keys as each asks of the role, all that are at hand.
///
/// With an old and a new root the result is good for readers of both.
pub(crate) fn sign<T>(role: Role, content: T, roots: &[&Root], keys: &Keys) -> Result<Signed<T>, Error>
where
    T: schema::Role + Serialize,
{
    roots.iter().try_for_each(|root| keys.suffice(role, root))?;
    let bad = |e: schema::Error| Error::Asked(format!("cannot write the {role} metadata: {e}"));
    let message = content.canonical_form().map_err(bad)?;
    let may_sign = |id: &KeyId| roots.iter().any(|root| ids(root, role).contains(id));
    let signers = keys.held.iter().filter(|held| may_sign(&held.id));
    let signature =
        |held: &Held| Signature { keyid: held.id.clone(), sig: held.private.sign(&message).to_vec().into() };
    let mut signatures: Vec<Signature> = signers.map(signature).collect();
    signatures.sort_by(|a, b| a.keyid.as_ref().cmp(b.keyid.as_ref()));
    Ok(Signed { signed: content, signatures })
}

/// The bytes of a metadata file: the same for the same content, whatever order a map has in memory.
pub(crate) fn bytes<T: Serialize>(signed: &Signed<T>) -> Result<Vec<u8>, Error> {
    let bad = |e: serde_json::Error| Error::Asked(format!("cannot write metadata: {e}"));
    let sorted = serde_json::to_value(signed).map_err(bad)?;
    let mut bytes = serde_json::to_vec_pretty(&sorted).map_err(bad)?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub(crate) fn ids(root: &Root, role: Role) -> &[KeyId] {
    root.roles.get(&role.kind()).map_or(&[], |keys| keys.keyids.as_slice())
}

pub(crate) fn threshold(root: &Root, role: Role) -> u64 {
    root.roles.get(&role.kind()).map_or(1, |keys| keys.threshold.get())
}

/// The moment `span` after `now`, as metadata has it.
pub(crate) fn expiry(now: u64, span: Span) -> Result<jiff::Timestamp, Error> {
    let seconds = i64::try_from(now.saturating_add(span.0)).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .map_err(|e| Error::Asked(format!("{span} from now is no time that metadata can name: {e}")))
}

pub(crate) fn seconds(moment: jiff::Timestamp) -> u64 {
    u64::try_from(moment.as_second()).unwrap_or(0)
}

/// The version after this one.
pub(crate) fn next(version: NonZeroU64) -> NonZeroU64 {
    version.saturating_add(1)
}

/// For how long what a role signs holds: the root says so itself, so that all who sign agree.
pub(crate) const EXPIRES: &str = "siding-expires";

pub(crate) fn span_of(root: &Root, role: Role) -> Span {
    let said = root._extra.get(EXPIRES).and_then(|spans| spans.get(role.to_string()));
    let said = said.and_then(|span| span.as_str()?.parse().ok());
    said.unwrap_or(role.default_setting().expires)
}

//! Not written yet.

pub(super) fn run(_: &[String]) -> crate::Result<()> {
    Err("not written yet".to_owned())
}

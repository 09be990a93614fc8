//! stub
use crate::args::Demo;
use crate::failure::Failure;
use crate::output::Reply;
pub(crate) fn demo(_args: &Demo) -> Result<Reply, Failure> {
    Err(Failure::failed("not yet"))
}

//! A repository on the network is a source of releases.

use crate::source::{Catalog, Source, SourceError};
use siding_repo::{Blob, Client};
use std::io::Read;
use std::path::Path;

impl Source for Client {
    fn refresh(&self, now: u64) -> Result<Catalog, SourceError> {
        Ok(Self::refresh(self, now)?.into())
    }

    fn known(&self) -> Result<Option<Catalog>, SourceError> {
        Ok(Self::known(self)?.map(Into::into))
    }

    fn fetch(
        &self,
        blob: &Blob,
        part: &Path,
        rate: Option<u64>,
    ) -> Result<Box<dyn Read + Send>, SourceError> {
        Ok(Box::new(Self::fetch(self, blob, part, rate)?))
    }

    fn refuse(&self, blob: &Blob, part: &Path) -> Result<bool, SourceError> {
        Ok(Self::refuse(self, blob, part)?)
    }
}

impl From<siding_repo::Catalog> for Catalog {
    fn from(catalog: siding_repo::Catalog) -> Self {
        let siding_repo::Catalog { releases, version, expires } = catalog;
        Self { releases, version, expires }
    }
}

impl From<siding_repo::Error> for SourceError {
    fn from(error: siding_repo::Error) -> Self {
        Self::new(error.code(), error)
    }
}

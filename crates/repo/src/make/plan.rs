//! What a release takes: its jobs, who makes which, and what of it is there.

use super::{Base, Draft, Error, Files, Job, JobKind, MakePatch, share, work};
use crate::{Blob, FORMAT, Full, ImageSpec, Item, Release, Standing};
use siding_image::{Digest, Image, Version};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A release's jobs. Images are read when their bytes are asked for, and once.
pub struct Plan<'a> {
    draft: &'a Draft,
    pub(crate) maker: &'a dyn MakePatch,
    options: String,
    jobs: Vec<Job>,
    /// For each base, which jobs it takes.
    items: Vec<[Option<usize>; 3]>,
    images: RefCell<BTreeMap<PathBuf, Rc<Image>>>,
}

/// A job, and what is there of it.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The job.
    pub job: Job,
    /// Its name.
    pub key: Digest,
    /// The length in bytes of the image that it starts from; 0 for nothing.
    pub source: u64,
    /// The length of the image that it makes.
    pub target: u64,
    /// The length of what was made, if it is there.
    pub there: Option<u64>,
}

impl<'a> Plan<'a> {
    /// Plans a release. Reads no image, but looks whether each is there.
    pub fn new(draft: &'a Draft, maker: &'a dyn MakePatch) -> Result<Self, Error> {
        let mut plan = Self {
            draft,
            maker,
            options: maker.options(&draft.level).map_err(Error::Asked)?,
            jobs: Vec::new(),
            items: Vec::new(),
            images: RefCell::default(),
        };
        // What is wrong with its names is said before anybody works for it.
        Release::parse(&plan.bare(0).to_json())?;
        for base in &draft.bases {
            let kinds = [JobKind::Patch, JobKind::Full, JobKind::Reverse];
            let wanted = [true, base.full, base.reverse];
            let jobs =
                kinds.into_iter().zip(wanted).map(|(kind, wanted)| wanted.then(|| plan.add(base, kind)));
            let jobs: Vec<Option<usize>> = jobs.collect();
            plan.items.push(jobs.try_into().unwrap_or_default());
        }
        for base in &draft.bases {
            for path in [&base.image, &base.target] {
                std::fs::metadata(path).map_err(|e| Error::local("find the image", path, e))?;
            }
        }
        Ok(plan)
    }

    /// The jobs, each once: several bases may share a whole image.
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// The jobs of share `index` of `count`: the same on every machine that has images of the same lengths. Reads none.
    pub fn share(&self, index: usize, count: usize) -> Result<Vec<&Job>, Error> {
        let costs = self.jobs.iter().map(cost).collect::<Result<Vec<u64>, Error>>()?;
        let shares = share(&costs, count);
        Ok(self.jobs.iter().zip(shares).filter(|(_, share)| *share == index).map(|(job, _)| job).collect())
    }

    /// All jobs with their keys, and what is there of them. Reads every image.
    pub fn look(&self, files: &dyn Files) -> Result<Vec<Planned>, Error> {
        let look = |job: &Job| {
            let (source, target) = self.images(job)?;
            let key = self.key(job)?;
            let there = files.length(&work::name(&key))?;
            let (source, target) = (source.identity().size, target.identity().size);
            Ok(Planned { job: job.clone(), key, source, target, there })
        };
        self.jobs.iter().map(look).collect()
    }

    /// The job's name. Reads its images.
    pub fn key(&self, job: &Job) -> Result<Digest, Error> {
        Ok(job.key(&self.options, &self.manifest(job)?))
    }

    pub(crate) fn manifest(&self, job: &Job) -> Result<siding_patch::Manifest, Error> {
        let (source, target) = self.images(job)?;
        Ok(job.manifest(source.identity(), target.identity()))
    }

    pub(crate) fn level(&self) -> &str {
        &self.draft.level
    }

    pub(crate) fn id(&self) -> &str {
        &self.draft.id
    }

    pub(crate) fn images(&self, job: &Job) -> Result<(Rc<Image>, Rc<Image>), Error> {
        let target = self.image(&job.target)?;
        let source = match &job.source {
            Some(path) => self.image(path)?,
            None => Rc::new(Image::nothing(target.identity().kind)),
        };
        if let Some(path) = job.source.as_ref().filter(|_| source.identity() == target.identity()) {
            let what = format!("it has the bytes of {}, which it is to be patched from", path.display());
            return Err(Error::Draft { path: job.target.clone(), what });
        }
        Ok((source, target))
    }

    /// The release, its files given by `blob`, which is asked once for each job's index.
    pub(crate) fn release(
        &self,
        published: u64,
        blobs: &[Blob],
        standing: Standing,
    ) -> Result<Release, Error> {
        let blob = |job: Option<usize>| job.and_then(|job| blobs.get(job).cloned());
        let mut release = Release { standing, ..self.bare(published) };
        for (base, [patch, full, reverse]) in self.draft.bases.iter().zip(&self.items) {
            let image = |path: &Path, version: &Version| {
                Ok::<_, Error>(ImageSpec::new(version.clone(), self.image(path)?.identity()))
            };
            release.items.push(Item {
                component: base.component.clone(),
                products: base.products.clone(),
                source: image(&base.image, &base.version)?,
                target: image(&base.target, &base.target_version)?,
                epoch: base.epoch,
                restart: base.restart.clone(),
                patch: blob(*patch),
                full: blob(*full).map(|blob| Full { blob, minimum: base.minimum.clone() }),
                reverse: blob(*reverse),
            });
        }
        Ok(Release::parse(&release.to_json())?)
    }

    fn bare(&self, published: u64) -> Release {
        let draft = self.draft;
        Release {
            format: FORMAT,
            id: draft.id.clone(),
            title: draft.title.clone(),
            text: draft.text.clone(),
            severity: draft.severity,
            advisories: draft.advisories.iter().map(|advisory| advisory.id.clone()).collect(),
            channel: draft.channel.clone(),
            published,
            standing: Standing::Active,
            waves: draft.waves.iter().map(|wave| wave.starting(published)).collect(),
            items: Vec::new(),
        }
    }

    /// Adds a base's job of this kind, unless there is the same already; its index.
    fn add(&mut self, base: &Base, kind: JobKind) -> usize {
        let job = self.job(base, kind);
        let same = self.jobs.iter().position(|other| *other == job);
        same.unwrap_or_else(|| {
            self.jobs.push(job);
            self.jobs.len() - 1
        })
    }

    fn job(&self, base: &Base, kind: JobKind) -> Job {
        let nothing = || "0".parse().unwrap_or_else(|_| base.version.clone());
        let (old, new) = (base.version.clone(), base.target_version.clone());
        let (from, to, source, target) = match kind {
            JobKind::Patch => (old, new, Some(base.image.clone()), base.target.clone()),
            JobKind::Full => (nothing(), new, None, base.target.clone()),
            JobKind::Reverse => (new, old, Some(base.target.clone()), base.image.clone()),
        };
        // The way back repairs nothing.
        let advisories = if kind == JobKind::Reverse { Vec::new() } else { self.draft.advisories.clone() };
        Job {
            kind,
            component: base.component.clone(),
            products: base.products.clone(),
            from,
            to,
            source,
            target,
            epoch: base.epoch,
            advisories,
            restart: base.restart.clone(),
            expires: self.draft.expires,
            minimum: self.draft.minimum_siding,
        }
    }

    fn image(&self, path: &Path) -> Result<Rc<Image>, Error> {
        if let Some(image) = self.images.borrow().get(path) {
            return Ok(Rc::clone(image));
        }
        let image = Rc::new(Image::open(path)?);
        self.images.borrow_mut().insert(path.to_owned(), Rc::clone(&image));
        Ok(image)
    }
}

impl std::fmt::Debug for Plan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("options", &self.options)
            .field("jobs", &self.jobs)
            .finish_non_exhaustive()
    }
}

/// About what a job costs, by the lengths of its images alone: they are matched byte by byte.
fn cost(job: &Job) -> Result<u64, Error> {
    let source = job.source.as_deref().map_or(Ok(0), weight)?;
    Ok(source.saturating_add(weight(&job.target)?))
}

/// The bytes of a file, or of all files in a directory.
fn weight(path: &Path) -> Result<u64, Error> {
    let failed = |e| Error::local("look at the image", path, e);
    let meta = std::fs::metadata(path).map_err(failed)?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    let mut sum = 0u64;
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() || kind.is_file() {
            sum = sum.saturating_add(weight(&entry.path())?);
        }
    }
    Ok(sum)
}

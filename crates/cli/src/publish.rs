//! The maker's verb `publish`: what a release takes, making it, and publishing it.

mod repository;
mod serve;
mod share;

use crate::args::Level;
use crate::args::publish::{Commit, Make, Plan as PlanArgs, Publish, PublishVerb};
use crate::bytes::{count, size};
use crate::failure::{Code, Failure};
use crate::keys;
use crate::make::name_of;
use crate::output::{Reply, table};
use crate::progress::Show;
use crate::time::now;
use clap::ValueEnum;
use serde_json::{Value, json};
use siding_image::{Digest, Image};
use siding_patch::Encoded;
use siding_repo::make::{self, Draft, Error, Job, Keys, MakePatch, Objects, Plan};

pub(crate) fn publish(args: &Publish, show: &Show, as_json: bool) -> Result<Reply, Failure> {
    match &args.verb {
        PublishVerb::Init(verb) => repository::init(verb),
        PublishVerb::Plan(verb) => plan(verb, show),
        PublishVerb::Make(verb) => make(verb, show),
        PublishVerb::Commit(verb) => commit(verb, show),
        PublishVerb::List(verb) => repository::list(verb),
        PublishVerb::Pause(verb) => repository::pause(verb),
        PublishVerb::Resume(verb) => repository::resume(verb),
        PublishVerb::Withdraw(verb) => repository::withdraw(verb),
        PublishVerb::Waves(verb) => repository::waves(verb),
        PublishVerb::Refresh(verb) => repository::refresh(verb),
        PublishVerb::Rotate(verb) => repository::rotate(verb),
        PublishVerb::Serve(verb) => serve::serve(verb, as_json),
    }
}

/// Makes patches as `siding diff` does.
struct Diff<'a>(&'a Show);

impl MakePatch for Diff<'_> {
    fn options(&self, level: &str) -> Result<String, String> {
        let level = level_of(level)?;
        // Another version may match better, and so make other bytes.
        Ok(format!("siding {}, level {}", env!("CARGO_PKG_VERSION"), level.name()))
    }

    fn make(
        &self,
        source: &Image,
        target: &Image,
        level: &str,
    ) -> Result<Vec<Encoded>, Box<dyn std::error::Error + Send + Sync>> {
        let progress = |step, done, total| self.0.advance(name_of(step), done, total);
        let delta = siding_diff::make(source, target, level_of(level)?.into(), &progress)?;
        self.0.finish();
        Ok(delta.chunks)
    }
}

fn level_of(text: &str) -> Result<Level, String> {
    let known = Level::from_str(text, false);
    known.map_err(|_| format!("a level is fast, default or best; the release says {text:?}"))
}

fn plan(args: &PlanArgs, show: &Show) -> Result<Reply, Failure> {
    let (draft, files, diff) = (Draft::read(&args.release)?, Objects::open(&args.repo.repo)?, Diff(show));
    let planned = Plan::new(&draft, &diff)?.look(&files)?;
    let there = planned.iter().filter(|job| job.there.is_some()).count();
    let mut rows = vec![["job", "from", "to", "made", "key"].map(str::to_owned).to_vec()];
    rows.extend(planned.iter().map(|job| {
        let made = job.there.map_or("–".to_owned(), size);
        vec![job.job.to_string(), size(job.source), size(job.target), made, job.key.short()]
    }));
    let text =
        format!("{}: {}, {there} made\n{}", draft.id, count(planned.len(), "job"), table(&rows, &[1, 2, 3]));
    let json = planned.iter().map(|job| {
        let mut json = job_json(&job.job, &job.key);
        json["source_bytes"] = job.source.into();
        json["target_bytes"] = job.target.into();
        json["made_bytes"] = job.there.into();
        json
    });
    Ok(Reply::new(text, json!({ "id": draft.id, "jobs": json.collect::<Vec<_>>() })))
}

fn make(args: &Make, show: &Show) -> Result<Reply, Failure> {
    let (index, count_of) = share::of(args.index, args.count, |name| std::env::var(name).ok())?;
    let (draft, files, diff) = (Draft::read(&args.release)?, Objects::open(&args.repo.repo)?, Diff(show));
    let plan = Plan::new(&draft, &diff)?;
    let (mut rows, mut jobs) = (Vec::new(), Vec::new());
    for job in plan.share(index, count_of)? {
        let made = make::make(&plan, &files, job)?;
        let how = if made.was_there { "was there" } else { "made" };
        rows.push(vec![job.to_string(), size(made.bytes), how.to_owned(), made.key.short()]);
        let mut json = job_json(job, &made.key);
        json["bytes"] = made.bytes.into();
        json["was_there"] = made.was_there.into();
        jobs.push(json);
    }
    let of = count(plan.jobs().len(), "job");
    let text =
        format!("{}: share {index} of {count_of}, {} of {of}\n{}", draft.id, jobs.len(), table(&rows, &[1]));
    Ok(Reply::new(text, json!({ "id": draft.id, "index": index, "count": count_of, "jobs": jobs })))
}

fn commit(args: &Commit, show: &Show) -> Result<Reply, Failure> {
    let signers = args.sign_with.iter().map(|path| keys::private(path)).collect::<Result<Vec<_>, _>>()?;
    let keys = Keys::open(&args.keys.keys)?;
    let (draft, files, diff) = (Draft::read(&args.release)?, Objects::open(&args.repo.repo)?, Diff(show));
    let done = make::commit(&Plan::new(&draft, &diff)?, &files, &keys, &signers, now())?;
    let (signed, bytes) = done.signed;
    let how = match (done.changed, done.was_there) {
        (false, _) => "nothing is new, nothing was done",
        (true, false) => "published",
        (true, true) => "changed",
    };
    let mut text = format!("{}: {how}\n", draft.id);
    if done.changed {
        let item = count(done.release.items.len(), "item");
        text.push_str(&format!("{item}; {} signed, {}\n", count(signed, "file"), size(bytes)));
        text.push_str(&repository::reach(&done.release, now()));
    }
    let mut json = repository::release_json(&done.release, now());
    json["changed"] = done.changed.into();
    json["signed_files"] = signed.into();
    json["signed_bytes"] = bytes.into();
    Ok(Reply::new(text, json))
}

fn job_json(job: &Job, key: &Digest) -> Value {
    json!({
        "kind": job.kind.name(), "component": job.component.as_str(), "products": job.products,
        "from": job.source.is_some().then(|| job.from.to_string()), "to": job.to.to_string(), "key": key.to_string(),
    })
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let full = |error: &Error| {
            let mut cause: Option<&dyn std::error::Error> = Some(error);
            std::iter::from_fn(|| {
                let this = cause?;
                cause = this.source();
                Some(this)
            })
            .filter_map(|error| error.downcast_ref::<std::io::Error>())
            .any(|error| error.kind() == std::io::ErrorKind::StorageFull)
        };
        let code = match error {
            Error::Image(error) => return error.into(),
            Error::NotTrusted { .. } => Code::NotTrusted,
            Error::Damaged { .. } | Error::Patch { .. } => Code::Corrupt,
            Error::Draft { .. } | Error::Asked(_) | Error::Release(_) | Error::TooFewKeys { .. } => {
                Code::Usage
            }
            Error::Changed { .. } => Code::Busy,
            _ if full(&error) => Code::NoSpace,
            _ => Code::Failed,
        };
        Self::new(code, error)
    }
}

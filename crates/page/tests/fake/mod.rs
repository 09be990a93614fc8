//! A device that is none: it shows what it is told to, notes what is asked, and plays an install when asked for one.
#![allow(dead_code, reason = "shared by tests and the gallery, of which each uses a part")]

pub(crate) mod states;

use siding_agent::view::{Activity, Ask, Device, Happened, Verdict, View};
use std::sync::{Mutex, PoisonError};

/// It says no to what it does not know.
pub(crate) struct Fake {
    inner: Mutex<Inner>,
}

struct Inner {
    view: View,
    asked: Vec<Ask>,
    /// How many more pictures show the install under way.
    left: u64,
    moving: Option<String>,
}

impl Fake {
    pub(crate) fn new(view: View) -> Self {
        Self { inner: Mutex::new(Inner { view, asked: vec![], left: 0, moving: None }) }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Ask> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).asked.clone()
    }
}

impl Device for Fake {
    fn view(&self) -> View {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.step();
        inner.view.clone()
    }

    fn ask(&self, ask: Ask) -> Result<String, String> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.asked.push(ask.clone());
        inner.answer(ask)
    }
}

impl Inner {
    fn answer(&mut self, ask: Ask) -> Result<String, String> {
        let now = self.view.now;
        match ask {
            Ask::Check => {
                self.view.check.succeeded = Some(now);
                Ok("Nothing new was found.".to_owned())
            }
            Ask::Install(id) => {
                let offer = self.view.offers.iter().find(|offer| offer.id == id && offer.can_install);
                let bytes = offer.ok_or_else(|| format!("There is no release {id} to install."))?.bytes;
                self.view.activity = Some(Activity {
                    what: "downloading".to_owned(),
                    release: Some(id.clone()),
                    component: None,
                    done: bytes / 3,
                    total: bytes,
                    since: now - 2,
                });
                (self.left, self.moving) = (2, Some(id.clone()));
                Ok(format!("{id} is being installed."))
            }
            Ask::Remove(component) => {
                let all = self.view.components.iter_mut();
                for one in all.filter(|one| component.as_ref().is_none_or(|name| *name == one.component)) {
                    one.version = one.base.clone().ok_or("There is no base to go back to.")?;
                    one.can_remove = false;
                }
                Ok("The base is in use again.".to_owned())
            }
            Ask::Restart => {
                self.view.restart_pending.clear();
                Ok("What had to restart was restarted.".to_owned())
            }
            Ask::Set(name, value) => {
                let setting = self.view.settings.iter_mut().find(|setting| setting.name == name);
                let setting = setting.ok_or_else(|| format!("There is no setting {name}."))?;
                if setting.locked {
                    return Err(format!("{name} is locked by {}.", setting.from));
                }
                setting.value.clone_from(&value);
                Ok(format!("{name} is {value} now."))
            }
        }
    }

    /// An install takes three pictures.
    fn step(&mut self) {
        let Some(id) = self.moving.clone() else { return };
        if self.left > 0 {
            self.left -= 1;
            return;
        }
        (self.moving, self.view.activity) = (None, None);
        let at = self.view.now;
        for offer in self.view.offers.iter_mut().filter(|offer| offer.id == id) {
            (offer.verdict, offer.can_install) = (Verdict::Installed, false);
            offer.code = "installed".to_owned();
            offer.reason = "It is in use.".to_owned();
            for change in &offer.changes {
                for one in self.view.components.iter_mut().filter(|one| one.component == change.component) {
                    one.version.clone_from(&change.to);
                    (one.since, one.can_remove) = (at, one.base.is_some());
                }
            }
        }
        let text = format!("{id} was installed by hand");
        let line =
            Happened { at, what: "install".to_owned(), component: None, text, reason: None, code: None };
        self.view.history.insert(0, line);
    }
}

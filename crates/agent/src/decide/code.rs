//! Why, for programs: words that stay what they are.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal,)*) => {
        /// Why a release is where it is. The words are stable; there may be more of them later.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])* $name,)*
        }

        impl Code {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }
        }
    };
}

codes! {
    /// It is in use.
    Installed = "installed",
    /// It lies ready, or is switched to, and needs a restart.
    Staged = "staged",
    /// It is being installed, or is next.
    Installing = "installing",
    /// Installing by itself is off.
    Off = "off",
    /// The administrator has locked installing by itself to off.
    LockedOff = "locked-off",
    /// It has not reached this device yet.
    WaveNotReached = "wave-not-reached",
    /// Its maker holds it back.
    Paused = "paused",
    /// Its maker took it back.
    Withdrawn = "withdrawn",
    /// Something newer is here or is to come.
    Superseded = "superseded",
    /// The device is older than what it starts from.
    BaseTooOld = "base-too-old",
    /// It starts from nothing that the device holds.
    BaseUnknown = "base-unknown",
    /// It is for components that the device has not.
    NoComponent = "no-component",
    /// It is for other products.
    WrongProduct = "wrong-product",
    /// It is in another channel.
    WrongChannel = "wrong-channel",
    /// It was rolled back here.
    Denied = "denied",
    /// What it changes is on trial.
    OnTrial = "on-trial",
    /// It is below the security epoch that the device has confirmed.
    OldEpoch = "old-epoch",
    /// The battery is low.
    BatteryLow = "battery-low",
    /// It lies ready and waits for the window.
    OutsideWindow = "outside-window",
    /// There is no room for it.
    NoSpace = "no-space",
    /// It needs a later siding.
    NeedsNewerSiding = "needs-newer-siding",
    /// A person removed it.
    RemovedByHand = "removed-by-hand",
    /// What is known of the repository is past its date.
    ExpiredMetadata = "expired-metadata",
    /// It could not be installed and is tried again.
    Failed = "failed",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

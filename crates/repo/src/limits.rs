//! How much of everything a repository may ask of a device.

use crate::http::Proxies;
use std::path::PathBuf;
use std::time::Duration;

/// What a client takes from the network: how long, how fast, how much. The defaults suit a device on a slow line.
#[derive(Clone, Debug)]
pub struct NetLimits {
    /// Time to resolve a name and connect, with TLS. 20 s.
    pub connect: Duration,
    /// Time until a server's answer begins. 30 s.
    pub first_byte: Duration,
    /// Time for one document (metadata, a release) from request to last byte. 300 s.
    pub document: Duration,
    /// Time that a download may spend waiting for data, all in all. 24 h.
    pub download: Duration,
    /// Bytes per second below which data is given up as too slow. 512. Time in which nobody reads, or in which a
    /// rate limit waits, does not count.
    pub least_rate: u64,
    /// The time over which that is measured, and the longest silence. 30 s.
    pub window: Duration,
    /// Redirects followed for one request. 5.
    pub redirects: u32,
    /// Whether a redirect may lead to another scheme, host or port (never from https to http). No.
    pub elsewhere: bool,
    /// Certificates, in PEM, that may vouch for https servers, instead of those of the web.
    pub ca_file: Option<PathBuf>,
    /// Proxies; `None`: those of the environment.
    pub proxies: Option<Proxies>,
    /// Bytes of one root document. 256 KiB.
    pub root_size: u64,
    /// New root documents in one refresh. 256.
    pub roots: u64,
    /// Bytes of the timestamp. 64 KiB.
    pub timestamp_size: u64,
    /// Bytes of the snapshot. 1 MiB.
    pub snapshot_size: u64,
    /// Bytes of the list of targets. 16 MiB.
    pub targets_size: u64,
    /// Releases in the repository. 4,096.
    pub releases: u64,
    /// Bytes of one release document. 1 MiB.
    pub release_size: u64,
    /// Bytes of all release documents together. 64 MiB.
    pub releases_size: u64,
    /// Bytes of one patch or full image. 64 GiB.
    pub blob_size: u64,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            first_byte: Duration::from_secs(30),
            document: Duration::from_secs(300),
            download: Duration::from_secs(24 * 3600),
            least_rate: 512,
            window: Duration::from_secs(30),
            redirects: 5,
            elsewhere: false,
            ca_file: None,
            proxies: None,
            root_size: 256 << 10,
            roots: 256,
            timestamp_size: 64 << 10,
            snapshot_size: 1 << 20,
            targets_size: 16 << 20,
            releases: 4_096,
            release_size: 1 << 20,
            releases_size: 64 << 20,
            blob_size: 64 << 30,
        }
    }
}

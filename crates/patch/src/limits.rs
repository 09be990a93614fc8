//! How large the parts of a patch may be. Checked before memory is reserved.

/// What a reader accepts. Raise a limit only for patches whose maker you control.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Manifest with signatures, in bytes. Default 4 MiB: 90,000 chunks, or some 6 TB of image.
    pub envelope: u64,
    /// One chunk as it is stored, in bytes. Default 8 MiB + 64 KiB: an incompressible chunk fits.
    pub stored: u64,
    /// One chunk once decoded, all streams together, in bytes. Default 8 MiB: what the device must hold.
    pub decoded: u64,
    /// What one chunk makes of the target, in bytes. Default 1 GiB bounds the work that a few stored bytes can ask for.
    pub target: u64,
    /// How many bytes of source and target a coder may refer to. Default 8 MiB.
    pub history: u64,
    /// The model of what moved, decoded, in bytes. Default 2 MiB: at most a million steps of the map or spans
    /// (two bytes each), some 24 bytes of memory each, and half as much again for a moment while they are read
    /// and sorted.
    pub model: u64,
    /// The changes of a tree, all its chunks together and decoded, in bytes. Default 64 MiB: half a million
    /// changed entries.
    pub changes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            envelope: 4 * MIB,
            stored: 8 * MIB + (64 << 10),
            decoded: 8 * MIB,
            target: 1024 * MIB,
            history: 8 * MIB,
            model: 2 * MIB,
            changes: 64 * MIB,
        }
    }
}

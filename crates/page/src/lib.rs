//! The local page of a device: what is installed, what is pending and why, and the switches.
//!
//! It shows a [`View`](siding_agent::view::View) and passes on what is asked; it decides nothing and holds nothing.

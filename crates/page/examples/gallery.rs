//! Serves the page of made-up devices, one for each state they can be in, until its standard input ends.
//!
//! Prints a line `STATE http://127.0.0.1:PORT/` for each: `cargo run -p siding-page --example gallery`

#[path = "../tests/fake/mod.rs"]
mod fake;

use siding_page::{Listen, PageOptions, Stop, bind};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stop = Stop::default();
    let mut serving = Vec::new();
    for (name, view) in fake::states::all() {
        let bound = bind(&Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))?;
        println!("{name} {}", bound.listen());
        let (device, stop) = (Arc::new(fake::Fake::new(view)), stop.clone());
        serving.push(std::thread::spawn(move || bound.serve(device, PageOptions::default().utc(), &stop)));
    }
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    stop.now();
    for thread in serving {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    Ok(())
}

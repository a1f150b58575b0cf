// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The sample services of `cargo xtask demo`: one role of a small shop a process.
//!
//! In: the role as the only argument; `PORT` and the other services' addresses from the environment. Out: HTTP/1.1 on
//! that port, until standard input ends, which it does when the demo is over in whatever way.
//! The gateway is always this one; the others are stand-ins for those in the folders beside, where their language is
//! not installed, and behave the same. Nothing here knows of Onlooker or of traces.

mod http;

use std::{
    env,
    io::{self, Read as _},
    net::TcpListener,
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use http::{Answer, call, serve};

fn main() -> Result<()> {
    let role = env::args().nth(1).unwrap_or_default();
    let answer = match role.as_str() {
        "gateway" => gateway,
        "auth" => auth,
        "orders" => orders,
        "inventory" => inventory,
        "payments" => payments,
        other => bail!("there is no role `{other}`"),
    };
    let port = env::var("PORT").context("PORT is not set")?.parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    thread::spawn(|| {
        // What it reads does not matter; that it ends does.
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    serve(&listener, answer)
}

/// Everything a customer asks for: who are you, then the order itself.
fn gateway(method: &str, path: &str) -> Answer {
    if call("AUTH", "GET", "/verify")?.0 != 200 {
        return Ok((401, "who are you?".to_owned()));
    }
    call("ORDERS", method, path.strip_prefix("/api").unwrap_or(path))
}

fn auth(_: &str, _: &str) -> Answer {
    work(2);
    Ok((200, "a customer".to_owned()))
}

/// A new order looks at the stock of four things at once, then is paid for; a refused payment is tried once more.
fn orders(method: &str, path: &str) -> Answer {
    if method != "POST" {
        return call("INVENTORY", "GET", &path.replace("/orders/", "/stock/"));
    }
    thread::scope(|scope| {
        for thing in 1..=4 {
            scope.spawn(move || call("INVENTORY", "GET", &format!("/stock/{thing}")));
        }
    });
    let paid = match call("PAYMENTS", "POST", "/charge")? {
        (503, _) => call("PAYMENTS", "POST", "/charge")?,
        answer => answer,
    };
    Ok(if paid.0 == 200 { (201, "ordered".to_owned()) } else { paid })
}

fn inventory(_: &str, path: &str) -> Answer {
    let thing = path.rsplit('/').next().and_then(|thing| thing.parse::<u64>().ok());
    work(3 + thing.unwrap_or(0) % 5);
    Ok(match thing {
        Some(thing) if thing < 1000 => (200, format!("{thing}: many")),
        _ => (404, "no such thing".to_owned()),
    })
}

/// Every fourth charge is refused, every sixth is slow.
fn payments(_: &str, _: &str) -> Answer {
    static CHARGES: AtomicU32 = AtomicU32::new(0);
    let charge = CHARGES.fetch_add(1, Ordering::Relaxed) + 1;
    work(if charge.is_multiple_of(6) { 250 } else { 25 });
    Ok(if charge.is_multiple_of(4) { (503, "try again".to_owned()) } else { (200, "paid".to_owned()) })
}

/// Stands for what a real service does in this time.
fn work(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

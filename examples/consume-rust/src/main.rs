//! Reads the newest tensor of each camera from NATS, and maps a box back to the picture.
//!
//!     cargo run -- nats://127.0.0.1:4222 'cvf.t.*.detector'
//!
//! A third argument is the number of tensors after which it ends.

use std::{collections::HashMap, env, error::Error, time::Duration};

use async_nats::{ConnectOptions, Message};
use futures::{FutureExt, StreamExt};
use half::f16;

const MAX_BYTES: usize = 1 << 30;
const QUIET: Duration = Duration::from_secs(5);

struct Tensor {
    stream: String,
    time: String,
    shape: Vec<usize>,
    affine: Vec<f64>,
    values: Vec<f32>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let url = args.first().map_or("nats://127.0.0.1:4222", String::as_str);
    let subject = args.get(1).map_or("cvf.t.>", String::as_str);
    let mut left: usize = args.get(2).map_or(Ok(usize::MAX), |n| n.parse())?;

    // Once connected, it connects again by itself.
    let client = ConnectOptions::new().connection_timeout(QUIET).connect(url).await?;
    let mut messages = client.subscribe(subject.to_string()).await?;
    client.flush().await?;
    while left > 0 {
        let Ok(first) = tokio::time::timeout(QUIET, messages.next()).await else {
            eprintln!("nothing on {subject} within {QUIET:?}");
            continue;
        };
        // What came while the last ones were used: of each camera, only the newest counts.
        let mut newest = HashMap::new();
        let mut next = Some(first.ok_or("the subscription has ended")?);
        while let Some(message) = next {
            newest.insert(message.subject.to_string(), message);
            next = messages.next().now_or_never().flatten();
        }
        for message in newest.into_values() {
            match parse(&message) {
                Ok(Some(tensor)) => {
                    show(&tensor);
                    left = left.saturating_sub(1);
                }
                Ok(None) => println!("{}: a gap", message.subject),
                Err(err) => eprintln!("{}: {err}", message.subject),
            }
        }
    }
    Ok(())
}

fn show(t: &Tensor) {
    let sum: f32 = t.values.iter().sum();
    let (x, y) = to_source(&t.affine, 10.0, 20.0); // a corner of a box that a model has found
    println!("{} {} {:?} sum {sum} corner {x} {y}", t.stream, t.time, t.shape);
}

/// Maps a point in the tensor to pixels of the camera's picture.
fn to_source(affine: &[f64], x: f64, y: f64) -> (f64, f64) {
    let [a, b, c, d, e, f] = affine.try_into().unwrap_or([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    (a * x + b * y + c, d * x + e * y + f)
}

/// Checks a message, and returns its tensor; None for an inline gap.
fn parse(message: &Message) -> Result<Option<Tensor>, String> {
    let header = |name: &str| {
        let headers = message.headers.as_ref();
        let value = headers.and_then(|h| h.get(name)).map(|v| v.as_str());
        value.ok_or(format!("the header {name} is missing"))
    };
    if header("Cvf-Version")? != "1" {
        return Err("not the version 1 that this program reads".into());
    }
    if header("Cvf-Gap").is_ok() {
        return Ok(None);
    }
    if header("Cvf-Chunk").is_ok() {
        return Err("a part of a tensor: set delivery.oversize to reject, or join the parts".into());
    }
    let shape: Vec<usize> = numbers(header("Cvf-Shape")?, 4)?;
    let elements = shape.iter().try_fold(1usize, |product, n| product.checked_mul(*n));
    let dtype = header("Cvf-Dtype")?;
    let size = match dtype {
        "FP32" => 4,
        "FP16" | "BF16" => 2,
        "UINT8" | "INT8" => 1,
        other => return Err(format!("the type {other} is unknown")),
    };
    let data: &[u8] = &message.payload;
    match elements.and_then(|n| n.checked_mul(size)) {
        Some(bytes) if bytes <= MAX_BYTES && bytes == data.len() => {}
        _ => return Err(format!("{} bytes are not {shape:?} of {dtype}", data.len())),
    }
    Ok(Some(Tensor {
        stream: header("Cvf-Stream")?.into(),
        time: header("Cvf-Time")?.into(),
        affine: numbers(header("Cvf-Affine")?, 6)?,
        shape,
        // The payload begins at any offset, so this copies.
        values: match size {
            4 => data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            2 => data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            _ => data.iter().map(|b| f32::from(*b)).collect(),
        },
    }))
}

/// Reads n numbers with commas between them.
fn numbers<T: std::str::FromStr>(text: &str, n: usize) -> Result<Vec<T>, String> {
    let read: Result<Vec<T>, _> = text.split(',').map(str::parse).collect();
    read.ok().filter(|all| all.len() == n).ok_or(format!("{text:.40} is not {n} numbers"))
}

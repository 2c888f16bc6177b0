//! Writes response pieces to a socket: runs of memory with one vectored write, runs of segment
//! files with `sendfile`, so that fetched records are never copied through the broker.
//!
//! A client that takes nothing for as long as it may be idle is given up, as one that sends nothing is.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;

use crate::handlers::Piece;
use crate::log::FileSlice;

/// The most slices that one vectored write takes (Linux's `IOV_MAX` is 1024).
const SLICES_MAX: usize = 64;
/// File runs below this are read and written with their neighbours: a sendfile call costs more.
const SENDFILE_BYTES_MIN: usize = 16 * 1024;

/// Writes all pieces, in order; `idle_max` is how long the client may take none of their bytes.
pub async fn write_pieces(stream: &mut TcpStream, pieces: Vec<Piece>, idle_max: Duration) -> io::Result<()> {
    let mut memory: VecDeque<Bytes> = VecDeque::new();
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => memory.push_back(bytes),
            Piece::File(slice) => match slice.file.os_file() {
                Some(_) if slice.bytes >= SENDFILE_BYTES_MIN => {
                    write_memory(stream, &mut memory, idle_max).await?;
                    send_file(stream, &slice, idle_max).await?;
                }
                Some(_) | None => memory.push_back(read_slice(&slice)?),
            },
        }
    }
    write_memory(stream, &mut memory, idle_max).await
}

/// Waits until the client takes more.
async fn taken<T>(idle_max: Duration, write: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(idle_max, write).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "the client has taken nothing for too long"))
    })
}

async fn write_memory(
    stream: &mut TcpStream,
    memory: &mut VecDeque<Bytes>,
    idle_max: Duration,
) -> io::Result<()> {
    while let Some(front) = memory.front() {
        if front.is_empty() {
            memory.pop_front();
            continue;
        }
        let slices: Vec<IoSlice<'_>> =
            memory.iter().take(SLICES_MAX).map(|bytes| IoSlice::new(bytes)).collect();
        let mut written = taken(idle_max, stream.write_vectored(&slices)).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while written > 0 {
            let Some(front) = memory.front_mut() else { break };
            let step = written.min(front.len());
            front.advance(step);
            written -= step;
            if front.is_empty() {
                memory.pop_front();
            }
        }
    }
    Ok(())
}

async fn send_file(stream: &TcpStream, slice: &FileSlice, idle_max: Duration) -> io::Result<()> {
    let Some(file) = slice.file.os_file() else { return Ok(()) };
    let end = slice.position + u64::try_from(slice.bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut position = slice.position;
    while position < end {
        let left = usize::try_from(end - position).map_err(|_| io::ErrorKind::InvalidInput)?;
        let write = stream.async_io(Interest::WRITABLE, || {
            rustix::fs::sendfile(stream, file, Some(&mut position), left).map_err(io::Error::from)
        });
        let sent = taken(idle_max, write).await?;
        if sent == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a segment file is shorter than its index says",
            ));
        }
    }
    Ok(())
}

fn read_slice(slice: &FileSlice) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    slice.file.read_onto(slice.position, slice.bytes, &mut bytes).map_err(io::Error::other)?;
    Ok(Bytes::from(bytes))
}

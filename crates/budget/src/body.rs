//! Reads whole bodies, and charges memory before it is used.

use crate::{Account, BODY_COPIES, NoMemory, SMALL};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use std::time::Duration;
use tokio::time::timeout;

/// The longest time without a byte. The deadline of the request ends a body that arrives slowly.
const STALL: Duration = Duration::from_secs(10);

/// Why a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The body is larger than the limit, in bytes.
    #[error(
        "the body is larger than the {0} bytes that this endpoint accepts; write a large file in parts, with append: true of write_file"
    )]
    TooLarge(usize),
    /// There is not enough memory for the body.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
    /// No byte arrived for too long.
    #[error("no byte of the body arrived for {} s; send it again", STALL.as_secs())]
    Stalled,
    /// The body ended too early.
    #[error("the body could not be read completely")]
    Broken,
}

/// Reads a whole body of at most `limit` bytes.
pub async fn read(body: Body, limit: usize, account: &Account) -> Result<Bytes, ReadError> {
    read_within(STALL, body, limit, account).await
}

async fn read_within(stall: Duration, mut body: Body, limit: usize, account: &Account) -> Result<Bytes, ReadError> {
    let hint = body.size_hint();
    // The declared size is enough to refuse the body.
    if hint.lower() > limit as u64 {
        return Err(ReadError::TooLarge(limit));
    }
    let mut charged = hint.exact().is_some();
    if let Some(size) = hint.exact().filter(|size| *size > SMALL) {
        account.charge(size.saturating_mul(BODY_COPIES)).await?;
    }
    let mut parts = Parts::default();
    while let Some(frame) = timeout(stall, body.frame()).await.map_err(|_| ReadError::Stalled)? {
        let Ok(data) = frame.map_err(|_| ReadError::Broken)?.into_data() else { continue };
        if data.len() > limit - parts.len() {
            return Err(ReadError::TooLarge(limit));
        }
        if !charged && (parts.len() + data.len()) as u64 > SMALL {
            // The size is not known in advance, so the whole limit is charged.
            account.charge((limit as u64).saturating_mul(BODY_COPIES)).await?;
            charged = true;
        }
        parts.push(data);
    }
    if hint.exact().is_none() && charged {
        account.settle((parts.len() as u64).saturating_mul(BODY_COPIES));
    }
    Ok(parts.join())
}

/// The chunks of a body.
#[derive(Debug, Default)]
pub struct Parts {
    parts: Vec<Bytes>,
    len: usize,
}

impl Parts {
    /// The total number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a chunk.
    pub fn push(&mut self, part: Bytes) {
        self.len += part.len();
        self.parts.push(part);
    }

    /// Joins all chunks. Each chunk is freed as soon as it is copied.
    #[must_use]
    pub fn join(mut self) -> Bytes {
        if self.parts.len() <= 1 {
            return self.parts.pop().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(self.len);
        for part in self.parts {
            whole.extend_from_slice(&part);
        }
        whole.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Holders, Pool};
    use futures::{StreamExt as _, stream};
    use std::{convert::Infallible, io, sync::Arc};
    use tokio::time::Instant;

    fn streamed(parts: Vec<Vec<u8>>) -> Body {
        Body::from_stream(stream::iter(parts.into_iter().map(|part| Ok::<_, Infallible>(Bytes::from(part)))))
    }

    fn account(pool: &Arc<Pool>) -> Account {
        Account::new(Arc::clone(pool), Holders::default(), Instant::now() + Duration::from_millis(50))
    }

    #[tokio::test]
    async fn bodies_are_charged_before_they_are_read() {
        const LIMIT: usize = 100 << 10;
        let pool = Pool::new(400 << 10);
        for (body, charged) in [
            (Body::from(vec![0; 1000]), 0),
            (streamed(vec![vec![0; 500]; 2]), 0),
            (Body::from(vec![0; LIMIT]), 300 << 10),
            (streamed(vec![vec![0; 20 << 10]; 3]), 180 << 10),
        ] {
            let account = account(&pool);
            read(body, LIMIT, &account).await.unwrap();
            assert_eq!(account.bytes(), charged);
        }
        let endless = stream::repeat(Ok::<_, Infallible>(Bytes::from(vec![0; 1 << 10]))).boxed();
        for large in [Body::from(vec![0; LIMIT + 1]), streamed(vec![vec![0; 60 << 10]; 2]), Body::from_stream(endless)]
        {
            assert_eq!(read(large, LIMIT, &account(&pool)).await, Err(ReadError::TooLarge(LIMIT)));
        }
        let held = account(&pool);
        held.charge(200 << 10).await.unwrap();
        let none = read(Body::from(vec![0; LIMIT]), LIMIT, &account(&pool)).await;
        assert_eq!(none, Err(ReadError::NoMemory(NoMemory::Busy)));
        read(Body::from(vec![0; 1000]), LIMIT, &account(&pool)).await.expect("small ones wait for no one");
        drop(held);

        let stalls = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let stalled = read_within(Duration::from_millis(20), stalls, LIMIT, &account(&pool)).await;
        assert_eq!(stalled, Err(ReadError::Stalled));
        let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(io::Error::from(io::ErrorKind::BrokenPipe))]));
        assert_eq!(read(broken, LIMIT, &account(&pool)).await, Err(ReadError::Broken));
        assert_eq!(pool.free(), 400 << 10);
    }
}

//! Bodies that are read whole, with each byte held once.
//!
//! The usual way keeps the pieces that came while it puts them together, which is twice as much.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use std::pin::{Pin, pin};

/// All of a body. One that came in a single piece is not copied.
pub async fn whole<B: Body<Data = Bytes>>(body: B) -> Result<Bytes, B::Error> {
    let mut body = pin!(body);
    let Some(first) = piece(body.as_mut()).await? else { return Ok(Bytes::new()) };
    let Some(second) = piece(body.as_mut()).await? else { return Ok(first) };
    // What the sender says of the rest; memory that is never written to costs nothing.
    let rest = usize::try_from(body.size_hint().lower()).unwrap_or_default();
    let mut all = Vec::with_capacity((first.len() + second.len()).saturating_add(rest));
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    drop((first, second));
    while let Some(next) = piece(body.as_mut()).await? {
        all.extend_from_slice(&next);
    }
    Ok(all.into())
}

async fn piece<B: Body<Data = Bytes>>(mut body: Pin<&mut B>) -> Result<Option<Bytes>, B::Error> {
    while let Some(frame) = body.frame().await {
        // Anything else are trailers.
        if let Ok(data) = frame?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    #[tokio::test]
    async fn pieces_are_put_together() {
        for pieces in [&[][..], &["one"], &["one", "", "two"], &["a", "b", "c", "d"]] {
            let frames = pieces.iter().map(|piece| Ok::<_, ()>(Frame::data(Bytes::from_static(piece.as_bytes()))));
            let body = StreamBody::new(stream::iter(frames));
            assert_eq!(whole(body).await.unwrap(), pieces.concat());
        }
        let broken = StreamBody::new(stream::iter([Ok(Frame::data(Bytes::from_static(b"one"))), Err("cut")]));
        assert_eq!(whole(broken).await, Err("cut"));
    }
}

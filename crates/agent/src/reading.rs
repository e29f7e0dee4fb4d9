//! Reads the answers of a workspace agent. They are not trusted, because the user of a workspace may have replaced the
//! agent: their size is limited, and memory is charged before it is used.

use crate::{
    client::{AgentError, AnswerBody, Lost},
    protocol::MOST_COMMAND_EVENT,
};
use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use portcullis_budget::{Account, Parts, SMALL};

/// The number of copies of an answer in memory: the received bytes and the parsed value.
pub(super) const COPIES: u64 = 2;
/// The number of copies of a list, which is also written as text.
pub(super) const LIST_COPIES: u64 = 3;
/// Lines up to this size, in bytes, are not charged: most results of commands.
const SHORT_LINE: u64 = 2 * SMALL;

/// Reads a whole answer of at most `most` bytes, which needs memory for `copies` copies.
pub(super) async fn whole(
    mut body: AnswerBody,
    (most, copies): (u64, u64),
    account: &Account,
) -> Result<Bytes, AgentError> {
    let size = body.size_hint();
    if size.lower() > most {
        return Err(AgentError::TooLong { most });
    }
    let mut charged = size.exact().is_some();
    if let Some(size) = size.exact().filter(|size| *size > SMALL) {
        account.charge(size * copies).await?;
    }
    let mut parts = Parts::default();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let read = (parts.len() + data.len()) as u64;
        if read > most {
            return Err(AgentError::TooLong { most });
        }
        if !charged && read > SMALL {
            // The size is not known in advance, so the limit is charged.
            account.charge(most * copies).await?;
            charged = true;
        }
        parts.push(data);
    }
    Ok(parts.join())
}

/// Reads the lines of an answer, each of at most [`MOST_COMMAND_EVENT`] bytes.
pub(super) struct Lines {
    body: AnswerBody,
    unread: BytesMut,
}

impl Lines {
    pub(crate) fn of(body: AnswerBody) -> Self {
        Self { body, unread: BytesMut::new() }
    }

    /// The next line, without its line feed. Fails with [`Lost`] if the answer ends before the line does.
    pub(crate) async fn next(&mut self, account: &Account) -> Result<Bytes, AgentError> {
        let (mut searched, mut charged) = (0, false);
        loop {
            let end = self.unread.get(searched..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n'));
            if let Some(end) = end {
                let line = self.unread.split_to(searched + end);
                self.unread.advance(1);
                account.settle(line.len() as u64 * COPIES);
                return Ok(line.freeze());
            }
            searched = self.unread.len();
            if searched as u64 > MOST_COMMAND_EVENT {
                return Err(AgentError::TooLong { most: MOST_COMMAND_EVENT });
            }
            let Some(frame) = self.body.frame().await else {
                return Err(Lost { why: "the response ended too early".to_owned(), maybe_done: true }.into());
            };
            let Ok(data) = frame?.into_data() else { continue };
            if !charged && (searched + data.len()) as u64 > SHORT_LINE {
                // Charge everything at once: requests that take memory piece by piece could deadlock.
                account.charge(MOST_COMMAND_EVENT * COPIES).await?;
                charged = true;
            }
            self.unread.extend_from_slice(&data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use futures::{StreamExt as _, stream};
    use portcullis_budget::{Holders, Pool};
    use std::{convert::Infallible, sync::Arc, time::Duration};
    use tokio::time::Instant;

    fn answer(body: Body) -> AnswerBody {
        body.map_err(|error| Lost { why: error.to_string(), maybe_done: true }).boxed_unsync()
    }

    fn endless(piece: &'static [u8]) -> AnswerBody {
        answer(Body::from_stream(stream::repeat(Ok::<_, Infallible>(Bytes::from_static(piece))).boxed()))
    }

    fn account(pool: &Arc<Pool>) -> Account {
        Account::new(Arc::clone(pool), Holders::default(), Instant::now() + Duration::from_millis(50))
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let pool = Pool::new(10 << 20);
        let account = account(&pool);
        let cut = whole(endless(&[b'x'; 1000]), (1 << 20, COPIES), &account).await.unwrap_err();
        assert!(cut.to_string().contains("more than the 1048576 allowed bytes"), "{cut}");
        let cut = Lines::of(endless(&[b'x'; 1000])).next(&account).await.unwrap_err();
        assert!(matches!(cut, AgentError::TooLong { most: MOST_COMMAND_EVENT }), "{cut}");
        let declared = whole(answer(Body::from(vec![0; 1 << 20])), (1000, COPIES), &account).await.unwrap_err();
        assert!(matches!(declared, AgentError::TooLong { most: 1000 }), "{declared}");
    }

    #[tokio::test]
    async fn answers_are_charged_before_they_are_read() {
        let pool = Pool::new(1 << 20);
        let read = account(&pool);
        whole(answer(Body::from(vec![0; 20 << 10])), (1 << 20, COPIES), &read).await.unwrap();
        assert_eq!(read.bytes(), 0, "small ones are the place's");
        whole(answer(Body::from(vec![0; 200 << 10])), (1 << 20, COPIES), &read).await.unwrap();
        assert_eq!(read.bytes(), 400 << 10);
        let other =
            whole(answer(Body::from(vec![0; 400 << 10])), (1 << 20, COPIES), &account(&pool)).await.unwrap_err();
        assert!(matches!(other, AgentError::NoMemory(_)), "{other}");
        drop(read);

        let pool = Pool::new(4 << 20);
        let lines = account(&pool);
        let mut text = vec![b'x'; 100 << 10];
        text.extend_from_slice(b"\n\nlast");
        let mut reader = Lines::of(answer(Body::from(text)));
        assert_eq!(reader.next(&lines).await.unwrap().len(), 100 << 10);
        assert_eq!(lines.bytes(), 200 << 10);
        assert!(reader.next(&lines).await.unwrap().is_empty());
        assert!(matches!(reader.next(&lines).await, Err(AgentError::Lost(_))));
    }
}

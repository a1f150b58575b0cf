// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A watch's body in, its lines out, each the JSON of one event.

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use memchr::memchr;

use super::client::ClusterError;

/// Bytes of one event. The API server keeps no object of more than 1.5 MiB. Larger: memory that it decides about.
const LINE_BYTES: usize = 4 << 20;

pub struct Lines<B> {
    body: B,
    gathered: BytesMut,
    /// Of what is gathered, so many bytes have no end of a line.
    searched: usize,
}

impl<B> Lines<B>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
{
    pub fn new(body: B) -> Self {
        Self { body, gathered: BytesMut::new(), searched: 0 }
    }

    /// The next line; nothing where the body has ended. Half a line at the end is none.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClusterError> {
        loop {
            if let Some(end) = memchr(b'\n', &self.gathered[self.searched..]) {
                let line = self.gathered.split_to(self.searched + end).freeze();
                self.gathered.advance(1);
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.gathered.len();
            if self.searched > LINE_BYTES {
                return Err(ClusterError::TooLong);
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(ClusterError::Body { source: Box::new(error) }),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.gathered.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn lines_come_apart() {
        let mut lines = Lines::new(Full::new(Bytes::from_static(b"a\n\nbc\nhalf")));
        for expected in ["a", "", "bc"] {
            assert_eq!(lines.next().await.expect("whole").as_deref(), Some(expected.as_bytes()));
        }
        assert!(lines.next().await.expect("ended").is_none());
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused() {
        let mut lines = Lines::new(Full::new(Bytes::from(vec![b'x'; LINE_BYTES + 1])));
        assert!(matches!(lines.next().await, Err(ClusterError::TooLong)));
    }
}

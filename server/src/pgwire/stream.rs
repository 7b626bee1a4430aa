//! The socket of a connection, encrypted or not.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use auric_sql::activity::Encryption;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::security::cipher;
use crate::security::tls::Tls;

#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Encrypted(Box<Encrypted>),
    /// A handshake has failed or was given up: nothing can be said any more.
    Broken,
}

#[derive(Debug)]
pub(super) struct Encrypted {
    stream: TlsStream<TcpStream>,
    /// The certificate that this connection was made with, whatever is loaded by now.
    tls: Arc<Tls>,
}

impl Stream {
    /// Is the first byte that waits this one? Leaves it there. `false` at the end of the stream, too.
    pub(super) async fn begins_with(&self, byte: u8) -> io::Result<bool> {
        let Self::Plain(stream) = self else { return Ok(false) };
        let mut first = [0];
        Ok(stream.peek(&mut first).await? > 0 && first == [byte])
    }

    /// Does the handshake.
    pub(super) async fn encrypt(&mut self, tls: Arc<Tls>) -> io::Result<()> {
        let Self::Plain(socket) = std::mem::replace(self, Self::Broken) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let stream = TlsAcceptor::from(tls.config.clone()).accept(socket).await?;
        *self = Self::Encrypted(Box::new(Encrypted { stream, tls }));
        Ok(())
    }

    pub(super) fn encrypted(&self) -> Option<&Encrypted> {
        match self {
            Self::Encrypted(encrypted) => Some(encrypted),
            Self::Plain(_) | Self::Broken => None,
        }
    }
}

impl Encrypted {
    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// The client's certificate, verified in the handshake.
    pub(super) fn client_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.stream.get_ref().1.peer_certificates().and_then(<[_]>::first)
    }

    /// What both have agreed upon.
    pub(super) fn encryption(&self) -> Option<Encryption> {
        let connection = self.stream.get_ref().1;
        let suite = connection.negotiated_cipher_suite()?.suite();
        cipher::encryption(connection.protocol_version()?, suite)
    }

    /// The protocol that both named in the handshake (ALPN).
    pub(super) fn protocol(&self) -> Option<&[u8]> {
        self.stream.get_ref().1.alpn_protocol()
    }
}

fn broken<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Encrypted(encrypted) => Pin::new(&mut encrypted.stream).poll_read(cx, buf),
            Self::Broken => broken(),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Encrypted(encrypted) => Pin::new(&mut encrypted.stream).poll_write(cx, buf),
            Self::Broken => broken(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Encrypted(encrypted) => Pin::new(&mut encrypted.stream).poll_flush(cx),
            Self::Broken => broken(),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Encrypted(encrypted) => Pin::new(&mut encrypted.stream).poll_shutdown(cx),
            Self::Broken => broken(),
        }
    }
}

//! An HTTP server that is a client too, on an asynchronous run time: epoll, eventfd, timers and non-blocking sockets.
//!
//! ```text
//! GET /hello            a greeting
//! GET /bytes/COUNT      so many bytes, of which each says where it is
//! POST /echo            the body
//! GET /fetch/HOST/PATH  what that server answers
//! GET /wait/MS          an answer after so many milliseconds
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

type Failure = Box<dyn Error + Send + Sync>;
type Body = Either<Full<Bytes>, Incoming>;

/// What a request is answered with if all goes well.
async fn try_answer(request: Request<Incoming>) -> Result<Response<Body>, Failure> {
    let path = request.uri().path().to_owned();
    let (name, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    match (request.method(), name) {
        (&Method::GET, "hello") => Ok(text(StatusCode::OK, "hello\n")),
        (&Method::GET, "bytes") => {
            let byte = |index: usize| index.to_le_bytes()[0] ^ index.to_le_bytes()[1];
            let bytes: Vec<u8> = (0..rest.parse()?).map(byte).collect();
            Ok(Response::new(Either::Left(bytes.into())))
        }
        (&Method::POST, "echo") => Ok(Response::new(Either::Right(request.into_body()))),
        (&Method::GET, "fetch") => fetch(rest).await,
        (&Method::GET, "wait") => {
            tokio::time::sleep(Duration::from_millis(rest.parse()?)).await;
            Ok(text(StatusCode::OK, "hello\n"))
        }
        _ => Ok(text(StatusCode::NOT_FOUND, "there is no such thing\n")),
    }
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let mut answer = Response::new(Either::Left(Full::from(text.to_owned())));
    *answer.status_mut() = status;
    answer
}

/// Asks another server.
async fn fetch(what: &str) -> Result<Response<Body>, Failure> {
    let (host, path) = what.split_once('/').unwrap_or((what, ""));
    let stream = TcpStream::connect(host).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(format!("/{path}")).header("host", host).body(Full::<Bytes>::default())?;
    Ok(sender.send_request(request).await?.map(Either::Right))
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let failed = |failure: Failure| text(StatusCode::BAD_GATEWAY, &format!("{failure}\n"));
    Ok(try_answer(request).await.unwrap_or_else(failed))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let listener = TcpListener::bind("[::]:8080").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new();
            if let Err(failure) = connection.serve_connection(TokioIo::new(stream), service_fn(answer)).await {
                eprintln!("{failure}");
            }
        });
    }
}

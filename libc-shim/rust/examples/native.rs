//! A server that does several things with one thread: it waits for its connection, a word and a thread by one call,
//! reads what comes in place, and would give its cache back if memory were short. The same on Linux and on Nacre.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use nacre::memory::{Level, on_shortage};
use nacre::receive::receive;
use nacre::wait::{POLLIN, Thing, wait_many, wake};

const SYS_GETTID: usize = 186;
const TOTAL_LEN: usize = 400_000;

fn main() -> std::io::Result<()> {
    let cache: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let shrunk = Arc::clone(&cache);
    let is_told =
        on_shortage(Level::Low, move |_| shrunk.lock().map(|mut cache| cache.clear()).unwrap_or_default()).is_ok();
    println!("somebody tells where it is known that they do: {}", is_told || !nacre::is_native());

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let word = AtomicU32::new(0);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: the call touches no memory.
            let number = unsafe { nacre::system_call(SYS_GETTID, [0; 6]) };
            sender.send(u32::try_from(number).unwrap_or(0)).unwrap_or_default();
            let mut client = TcpStream::connect(address)?;
            let bytes: Vec<u8> = (0..TOTAL_LEN).map(byte_at).collect();
            client.write_all(&bytes)?;
            word.store(1, Ordering::SeqCst);
            wake(&word);
            std::io::Result::Ok(())
        });
        let thread = receiver.recv().unwrap_or(0);
        let (server, _) = listener.accept()?;
        serve(&server, &word, thread, &cache)
    })
}

/// What is sent at a place of the stream.
fn byte_at(place: usize) -> u8 {
    u8::try_from(place % 251).unwrap_or(0)
}

fn serve(server: &TcpStream, word: &AtomicU32, thread: u32, cache: &Mutex<Vec<Vec<u8>>>) -> std::io::Result<()> {
    let (mut place, mut is_right, mut is_over) = (0, true, false);
    let mut left = 3;
    let mut things = [Thing::descriptor(server, POLLIN), Thing::word(word, 0), Thing::thread(thread)];
    while left > 0 {
        if wait_many(&mut things, Some(Duration::from_secs(10)))? == 0 {
            println!("nothing happens");
            break;
        }
        let [has_bytes, is_woken, has_ended] = [0, 1, 2].map(|index: usize| things[index].is_found());
        if has_bytes {
            let received = receive(server)?;
            for byte in received.pieces().flatten() {
                is_right &= *byte == byte_at(place);
                place += 1;
            }
            if received.is_empty() {
                is_over = true;
                (things[0], left) = (Thing::nothing(), left - 1);
            }
            if let Ok(mut cache) = cache.lock() {
                cache.push(received.pieces().next().map(<[u8]>::to_vec).unwrap_or_default());
            }
        }
        if is_woken {
            (things[1], left) = (Thing::nothing(), left - 1);
        }
        if has_ended {
            (things[2], left) = (Thing::nothing(), left - 1);
        }
    }
    println!("{place} bytes, right: {is_right}, to the end: {is_over}, word: {}", word.load(Ordering::SeqCst));
    Ok(())
}

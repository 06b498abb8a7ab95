//! The control protocol of the virtio console with several ports (Virtual I/O Device specification 1.2, 5.3).
//!
//! A message is an 8-byte header, in the direction to the driver perhaps with data behind it. After the driver says
//! [`Event::DeviceReady`] the device adds its ports; when the driver answers [`Event::PortReady`] it tells the port's
//! name and whether the host's end is open. Either side says [`Event::PortOpen`] when its end opens or closes.
//!
//! The device does not say that it has told all. [`Introduction`] finds out by asking again.

/// Bytes of a message without data.
pub const HEADER_LEN_BYTES: usize = 8;
/// Bytes of the longest name that is looked at.
pub const NAME_LEN_BYTES_MAX: usize = 64;
/// Feature bit: the device has more than one port.
pub const FEATURE_MULTIPORT: u64 = 1 << 1;
/// Offset of the number of ports (32 bits) in the device's configuration.
pub const CONFIG_PORTS_MAX: usize = 4;
/// The queue on which the device sends control messages.
pub const CONTROL_RECEIVE_QUEUE: u16 = 2;
/// The queue on which the driver sends control messages.
pub const CONTROL_TRANSMIT_QUEUE: u16 = 3;

/// The port number in messages that are about no port.
const NO_PORT: u32 = u32::MAX;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The driver is ready (value 1).
    DeviceReady,
    /// The device has a port.
    PortAdd,
    /// The port is gone.
    PortRemove,
    /// The driver has set the port up (value 1).
    PortReady,
    /// The port is a console for humans.
    ConsolePort,
    /// The console's size follows as two 16-bit numbers, columns then rows.
    Resize,
    /// The other end is open (1) or closed (0).
    PortOpen,
    /// The port's name follows.
    PortName,
}

impl Event {
    fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::DeviceReady,
            1 => Self::PortAdd,
            2 => Self::PortRemove,
            3 => Self::PortReady,
            4 => Self::ConsolePort,
            5 => Self::Resize,
            6 => Self::PortOpen,
            7 => Self::PortName,
            _ => return None,
        })
    }

    fn number(self) -> u16 {
        match self {
            Self::DeviceReady => 0,
            Self::PortAdd => 1,
            Self::PortRemove => 2,
            Self::PortReady => 3,
            Self::ConsolePort => 4,
            Self::Resize => 5,
            Self::PortOpen => 6,
            Self::PortName => 7,
        }
    }
}

/// A control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The port, if it is about one.
    pub port: Option<u32>,
    /// What it says.
    pub event: Event,
    /// A number whose meaning depends on the event.
    pub value: u16,
    /// What follows the header.
    pub data: &'a [u8],
}

impl<'a> Message<'a> {
    /// Parses what the device wrote; none if it is too short or unknown.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = *bytes.first_chunk::<HEADER_LEN_BYTES>()?;
        let port = u32::from_le_bytes([a, b, c, d]);
        Some(Self {
            port: (port != NO_PORT).then_some(port),
            event: Event::from_number(u16::from_le_bytes([e, f]))?,
            value: u16::from_le_bytes([g, h]),
            data: bytes.get(HEADER_LEN_BYTES..)?,
        })
    }

    /// A port's name: the data up to the first zero, which some devices send and some do not.
    pub fn name(&self) -> &'a [u8] {
        let len = self.data.iter().position(|byte| *byte == 0).unwrap_or(self.data.len());
        self.data.get(..len.min(NAME_LEN_BYTES_MAX)).unwrap_or_default()
    }
}

/// Whether the device has told of all its ports, and of each whether the host's end is open.
///
/// The device answers in order, and adds all ports again, in the same order, each time that the driver says to be
/// ready. So when the port that it added first is added a second time, all were added once, and the driver has
/// answered [`Event::PortReady`] for each. When it is added a third time, for a question that came behind those
/// answers, all that there was to say about any port was said before.
#[derive(Debug, Default)]
pub struct Introduction {
    /// The port that was added first, and how often.
    first: Option<(u32, u32)>,
}

impl Introduction {
    /// How often the first port is added until all is told.
    const ROUNDS: u32 = 3;

    /// The device has added a port. True: say [`Event::DeviceReady`] once more, behind what is said about the port.
    pub fn note_added(&mut self, port: u32) -> bool {
        let (first, rounds) = self.first.get_or_insert((port, 0));
        if *first != port || *rounds >= Self::ROUNDS {
            return false;
        }
        *rounds += 1;
        *rounds < Self::ROUNDS
    }

    /// All was told.
    pub fn is_over(&self) -> bool {
        self.first.is_some_and(|(_, rounds)| rounds >= Self::ROUNDS)
    }
}

/// A message from the driver.
pub fn encode(port: Option<u32>, event: Event, value: u16) -> [u8; HEADER_LEN_BYTES] {
    let [a, b, c, d] = port.unwrap_or(NO_PORT).to_le_bytes();
    let [e, f] = event.number().to_le_bytes();
    let [g, h] = value.to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

/// The queue on which the driver receives the data of `port`: the control queues stand between port 0 and the others.
pub const fn receive_queue(port: u16) -> u16 {
    if port == 0 { 0 } else { 2 + 2 * port }
}

/// The queue on which the driver sends the data of `port`.
pub const fn transmit_queue(port: u16) -> u16 {
    receive_queue(port) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues() {
        assert_eq!((receive_queue(0), transmit_queue(0)), (0, 1));
        assert_eq!((receive_queue(1), transmit_queue(1)), (4, 5));
        assert_eq!((receive_queue(4), transmit_queue(4)), (10, 11));
    }

    #[test]
    fn messages() {
        assert_eq!(encode(None, Event::DeviceReady, 1), [0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0]);
        assert_eq!(encode(Some(3), Event::PortOpen, 1), [3, 0, 0, 0, 6, 0, 1, 0]);
        let name = Message::parse(b"\x02\0\0\0\x07\0\x01\0nacre.stdin\0").unwrap();
        assert_eq!((name.port, name.event, name.name()), (Some(2), Event::PortName, &b"nacre.stdin"[..]));
        let bytes = encode(Some(1), Event::PortOpen, 0);
        let closed = Message::parse(&bytes).unwrap();
        assert_eq!(closed, Message { port: Some(1), event: Event::PortOpen, value: 0, data: b"" });
    }

    /// A device that answers each question when it gets to it: a queue of questions, and what it has told.
    #[test]
    fn all_ports_are_told_of_when_the_introduction_is_over() {
        const PORTS: [u32; 3] = [2, 0, 5];
        let mut introduction = Introduction::default();
        let mut questions = std::collections::VecDeque::from([None]);
        let (mut named, mut readied) = (Vec::new(), Vec::new());
        while let Some(question) = questions.pop_front() {
            match question {
                Some(port) => named.push(port),
                None => {
                    for port in PORTS {
                        assert!(!introduction.is_over() || named.len() == PORTS.len());
                        let asks_again = introduction.note_added(port);
                        if !readied.contains(&port) {
                            readied.push(port);
                            questions.push_back(Some(port));
                        }
                        if asks_again {
                            questions.push_back(None);
                        }
                        assert!(!introduction.is_over() || named.len() == PORTS.len(), "over before all was told");
                    }
                }
            }
        }
        assert!(introduction.is_over());
        assert!(!introduction.note_added(2), "and it asks no more");
    }

    #[test]
    fn nonsense_is_no_message() {
        assert_eq!(Message::parse(b"\0\0\0\0\0\0\0"), None);
        assert_eq!(Message::parse(b"\0\0\0\0\x09\0\0\0"), None);
        let long = [&encode(Some(1), Event::PortName, 1)[..], &[b'x'; 200]].concat();
        assert_eq!(Message::parse(&long).unwrap().name().len(), NAME_LEN_BYTES_MAX);
    }
}

//! Each fault does what it says.

use super::*;

/// What `stream` has to say at this moment.
fn glance(mut stream: &TcpStream) -> io::Result<usize> {
    stream.set_nonblocking(true).unwrap();
    let glanced = stream.read(&mut [0; 100]);
    stream.set_nonblocking(false).unwrap();
    glanced
}

fn is_silent(stream: &TcpStream) -> bool {
    glance(stream).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Bytes of which the fault lets the first few pass.
const WORDS: &[u8] = b"some bytes of which only the first few pass";

#[test]
fn a_reset_comes_to_both_sides_in_the_middle_of_what_passes() {
    for up in [true, false] {
        let world = World::with(Fault::Reset, up, !up);
        let (device, server) = world.connect();
        let (mut from, to) = if up { (&device, &server) } else { (&server, &device) };
        let written = from.write_all(WORDS);
        let (got, result) = read_to_reset(to);
        assert!(WORDS.starts_with(&got) && got.len() <= 2, "{got:?}");
        assert!(was_reset(&result), "{result:?}");
        // It is told once, to the write if it came before that.
        let (_, result) = read_to_reset(from);
        assert!(was_reset(&written) || was_reset(&result), "{written:?}, {result:?}");
        assert_eq!(world.finish().0.faults, [(Fault::Reset.name(), 1)].into());
    }
}

#[test]
fn a_half_closed_connection_is_open_the_other_way() {
    for up in [true, false] {
        let world = World::with(Fault::HalfClose, up, !up);
        let (device, server) = world.connect();
        let (mut from, mut to) = if up { (&device, &server) } else { (&server, &device) };
        from.write_all(WORDS).unwrap();
        let got = read_all(to);
        assert!(WORDS.starts_with(&got) && got.len() <= 2, "{got:?}");
        to.write_all(b"still heard").unwrap();
        to.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(from), b"still heard");
        assert_eq!(world.finish().0.faults, [(Fault::HalfClose.name(), 1)].into());
    }
}

#[test]
fn a_black_hole_tells_nobody_and_lets_the_device_come_back_while_the_server_waits() {
    let world = World::with(Fault::BlackHole, true, false);
    let (mut lost, mut forgotten) = world.connect();
    lost.write_all(WORDS).unwrap();
    world.wait_for(Fault::BlackHole, 1);
    world.plan(Vec::new(), 0, 0);
    // At most what passed before it.
    while let Ok(count) = glance(&forgotten) {
        assert!((1..=2).contains(&count), "{count} bytes out of a black hole");
    }
    forgotten.write_all(b"are you there").unwrap();
    // Another connection is served after all that was to be done for this one.
    passes(&world, 1_000);
    assert!(is_silent(&lost) && is_silent(&forgotten));
    drop(lost);
    passes(&world, 1_000);
    assert!(is_silent(&forgotten), "the server was told");
    drop(forgotten);
    passes(&world, 1_000);
    assert_eq!(world.proxy.cut_all().unwrap(), 0, "the proxy keeps what both sides have left");
    assert_eq!(world.finish().0.faults, [(Fault::BlackHole.name(), 1)].into());
}

#[test]
fn lost_acknowledgements_reach_neither_the_device_nor_the_file() {
    let world = World::new();
    let longest_delay = Duration::from_millis(500);
    world.proxy.faults(Plan { faults: vec![Fault::LostAcks], up_bytes: 1, down_bytes: 0, longest_delay }).unwrap();
    let (mut device, mut server) = world.connect();
    // If the RST comes before any of these writes, it tells of it.
    let sent = [witness::connect(4, "device-1"), witness::publish(4, 9, br#"{"boot":1,"seq":1}"#)].concat();
    let sent = device.write_all(&sent);
    let written = server.write_all(&[0x20, 2, 0, 0, 0x40, 2, 0, 9]);
    let (got, result) = read_to_reset(&device);
    assert_eq!(got, b"");
    assert!(was_reset(&sent) || was_reset(&result), "{sent:?}, {result:?}");
    assert!(was_reset(&written) || was_reset(&read_to_reset(&server).1));
    let (witness, lines) = world.finish();
    assert_eq!(witness.pubacks, 0);
    assert!(lines.is_empty());
    assert_eq!(witness.faults, [(Fault::LostAcks.name(), 1)].into());
}

#[test]
fn delays_and_dribbles_change_nothing_but_the_time() {
    for fault in [Fault::Delay, Fault::Dribble] {
        let world = World::new();
        world.plan(vec![fault], 10_000, 5_000);
        passes(&world, 200_000);
        let (witness, _) = world.finish();
        let done = witness.faults.get(fault.name()).copied().unwrap_or(0);
        assert!(done >= 20, "{fault:?}: {done} of about 60");
        assert_eq!(witness.faults.len(), 1);
    }
}

#[test]
fn the_same_seed_draws_the_same_faults() {
    let plan = Plan { faults: Fault::ALL.to_vec(), up_bytes: 1_000, down_bytes: 10, longest_delay: Duration::ZERO };
    let plan = Arc::new(plan);
    let draw = |seed, number| -> Vec<_> {
        let mut dice = plan::Dice::new(Arc::clone(&plan), seed, number);
        (0..50).map(|_| dice.strike(plan::Way::Up, 5).map(|strike| (strike.at, strike.fault))).collect()
    };
    assert_eq!(draw(1, 1), draw(1, 1));
    assert_ne!(draw(1, 1), draw(1, 2));
    assert_ne!(draw(1, 1), draw(2, 1));
    assert!(draw(1, 1).into_iter().flatten().all(|(at, _)| (5..=2_005).contains(&at)));
}

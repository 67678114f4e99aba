//! Makes damaged model files out of a good one, always the same ones.

/// A row of numbers that is the same in every run (SplitMix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap()
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Numbers that counts and sizes are not expected to be.
const EXTREMES: [u64; 16] = [
    0,
    1,
    2,
    3,
    31,
    255,
    1 << 10,
    65_536,
    1 << 24,
    i32::MAX as u64,
    1 << 31,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// Where a number is, and how many bytes it has.
type Place = (usize, usize);

/// The places of a file's head, found without the code under test.
#[derive(Default)]
struct Map {
    /// Numbers of entries, tensors, elements and bytes.
    lengths: Vec<Place>,
    /// Types of values, elements and tensors.
    kinds: Vec<Place>,
    /// Single numbers of the metadata.
    values: Vec<Place>,
    /// Elements of its arrays of numbers: the first and the length of each array, in elements.
    arrays: Vec<(Place, usize)>,
    /// Extents, numbers of dimensions and offsets of the tensors.
    shapes: Vec<Place>,
    /// The bytes of each entry.
    entries: Vec<(usize, usize)>,
    metadata_end: usize,
    head_end: usize,
}

struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Cursor<'_> {
    fn number(&mut self, size: usize, places: &mut Vec<Place>) -> usize {
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(&self.bytes[self.at..self.at + size]);
        places.push((self.at, size));
        self.at += size;
        usize::try_from(u64::from_le_bytes(wide)).unwrap()
    }

    fn text(&mut self, lengths: &mut Vec<Place>) {
        self.at += self.number(8, lengths);
    }
}

fn size_of_kind(kind: usize) -> usize {
    match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        _ => 8,
    }
}

fn map(bytes: &[u8]) -> Map {
    let mut map = Map::default();
    let mut cursor = Cursor { bytes, at: 8 };
    let tensors = cursor.number(8, &mut map.lengths);
    let entries = cursor.number(8, &mut map.lengths);
    for _ in 0..entries {
        let begin = cursor.at;
        cursor.text(&mut map.lengths);
        match cursor.number(4, &mut map.kinds) {
            8 => cursor.text(&mut map.lengths),
            9 => {
                let kind = cursor.number(4, &mut map.kinds);
                let count = cursor.number(8, &mut map.lengths);
                if kind == 8 {
                    (0..count).for_each(|_| cursor.text(&mut map.lengths));
                } else {
                    let size = size_of_kind(kind);
                    map.arrays.push(((cursor.at, size), count));
                    cursor.at += count * size;
                }
            }
            kind => drop(cursor.number(size_of_kind(kind), &mut map.values)),
        }
        map.entries.push((begin, cursor.at));
    }
    map.metadata_end = cursor.at;
    for _ in 0..tensors {
        cursor.text(&mut map.lengths);
        let dimensions = cursor.number(4, &mut map.shapes);
        for _ in 0..dimensions {
            cursor.number(8, &mut map.shapes);
        }
        cursor.number(4, &mut map.kinds);
        cursor.number(8, &mut map.shapes);
    }
    map.head_end = cursor.at;
    map
}

/// A good file, of which any number of damaged ones can be made.
pub(crate) struct Original {
    bytes: Vec<u8>,
    map: Map,
}

impl Original {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let map = map(&bytes);
        Self { bytes, map }
    }

    /// The damaged file of this number, and how it was made.
    pub(crate) fn mutant(&self, number: u64) -> (Vec<u8>, &'static str) {
        let (mut bytes, map, mut numbers) = (self.bytes.clone(), &self.map, Numbers(number));
        let kind = match number % 10 {
            0 => {
                flip(&mut bytes, 0, map.metadata_end, &mut numbers);
                "bits of the metadata"
            }
            1 => {
                flip(&mut bytes, map.metadata_end, map.head_end, &mut numbers);
                "bits of the tensor table"
            }
            2 => {
                flip(&mut bytes, map.head_end, self.bytes.len(), &mut numbers);
                "bits of the weights"
            }
            3 => {
                let end = if numbers.below(2) == 0 { map.head_end } else { bytes.len() };
                bytes.truncate(numbers.below(end));
                "cut off"
            }
            4 => {
                let (one, other) = (numbers.one_of(&map.lengths), numbers.one_of(&map.lengths));
                for offset in 0..8 {
                    bytes.swap(one.0 + offset, other.0 + offset);
                }
                "lengths exchanged"
            }
            5 => {
                // Half of the time one of the first, which are not lost among the vocabulary's.
                let first = &map.lengths[..40.min(map.lengths.len())];
                let place =
                    if numbers.below(2) == 0 { numbers.one_of(first) } else { numbers.one_of(&map.lengths) };
                write(&mut bytes, place, numbers.one_of(&EXTREMES));
                "extreme lengths"
            }
            6 => {
                for _ in 0..=numbers.below(2) {
                    let value = value(&mut numbers);
                    write(&mut bytes, numbers.one_of(&map.values), value);
                }
                "extreme metadata"
            }
            7 => {
                write(&mut bytes, numbers.one_of(&map.shapes), numbers.one_of(&EXTREMES));
                "extreme shapes"
            }
            8 => {
                let kind = numbers.below(50) as u64;
                write(&mut bytes, numbers.one_of(&map.kinds), kind);
                "other types"
            }
            _ => self.entries_changed(&mut bytes, &mut numbers),
        };
        (bytes, kind)
    }

    /// Takes an entry out, writes one over another of the same length, or makes an array's elements extreme.
    fn entries_changed(&self, bytes: &mut [u8], numbers: &mut Numbers) -> &'static str {
        let (begin, end) = numbers.one_of(&self.map.entries);
        if numbers.below(2) == 0 {
            // The rest moves, and is filled up again behind the table, so that the weights stay where they are.
            let gap = end - begin;
            bytes.copy_within(end..self.map.head_end, begin);
            bytes[self.map.head_end - gap..self.map.head_end].fill(0);
            write(bytes, (16, 8), self.map.entries.len() as u64 - 1);
            return "an entry less";
        }
        let ((at, size), count) = numbers.one_of(&self.map.arrays);
        for _ in 0..=numbers.below(4) {
            let value = value(numbers);
            write(bytes, (at + numbers.below(count) * size, size), value);
        }
        "extreme elements"
    }
}

/// An extreme number, or any.
fn value(numbers: &mut Numbers) -> u64 {
    if numbers.below(4) == 0 { numbers.next() } else { numbers.one_of(&EXTREMES) }
}

fn write(bytes: &mut [u8], (at, size): Place, number: u64) {
    bytes[at..at + size].copy_from_slice(&number.to_le_bytes()[..size]);
}

fn flip(bytes: &mut [u8], begin: usize, end: usize, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(8) {
        bytes[begin + numbers.below(end - begin)] ^= 1 << numbers.below(8);
    }
}

//! A flame graph as an SVG file (B. Gregg, "The Flame Graph", ACM Queue 14(2), 2016).
//!
//! Every box is a function in one place of the call tree, as wide as the share of samples that were taken in it or in what it called.
//! Callers are below, in the order of their names, so the horizontal order says nothing of time. A box has its name where that fits,
//! and its figures in a tooltip. A click makes a box as wide as the picture, with all that stands on it; one on the ground undoes that.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The mark behind the kernel's functions; they have a colour of their own.
pub(super) const KERNEL_MARK: &str = "_[k]";

/// Measures of the picture, in pixels.
const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 10.0;
const ROW_HEIGHT: usize = 17;
const HEAD_HEIGHT: usize = 40;
/// About the width of a letter.
const LETTER_WIDTH: f64 = 7.2;
/// Boxes that would be narrower are left out.
const WIDTH_MIN: f64 = 0.15;

/// A function in a place of the call tree.
#[derive(Debug, Default)]
struct Node {
    samples: u64,
    callees: BTreeMap<String, Node>,
}

impl Node {
    /// How many rows it takes, with all that it calls.
    fn height(&self) -> usize {
        1 + self.callees.values().map(Self::height).max().unwrap_or(0)
    }
}

/// Draws stacks, names from the outermost function on, separated by semicolons, with how often each was seen.
pub(super) fn draw(title: &str, stacks: &BTreeMap<String, u64>) -> String {
    let mut root = Node::default();
    for (stack, count) in stacks {
        let mut node = &mut root;
        node.samples += count;
        for name in stack.split(';') {
            node = node.callees.entry(name.to_owned()).or_default();
            node.samples += count;
        }
    }
    let rows = root.height();
    let height = HEAD_HEIGHT + rows * ROW_HEIGHT + HEAD_HEIGHT / 2;
    let mut picture = Picture { svg: String::new(), rows, samples: root.samples.max(1) };
    let outer = WIDTH + 2.0 * MARGIN;
    // Writing to a string does not fail.
    let _ = write!(
        picture.svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{outer}\" height=\"{height}\" viewBox=\"0 0 {outer} {height}\" \
         font-family=\"monospace\" font-size=\"12\">\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fdfdf6\"/>\n\
         <text x=\"{}\" y=\"24\" text-anchor=\"middle\" font-size=\"15\">{}</text>\n",
        outer / 2.0,
        escaped(title)
    );
    picture.boxes("all", &root, 0, 0);
    let _ = write!(picture.svg, "<script>{SCRIPT}</script>\n</svg>\n");
    picture.svg
}

struct Picture {
    svg: String,
    rows: usize,
    samples: u64,
}

impl Picture {
    /// Draws a function and what stands on it, from the sample `first` on.
    fn boxes(&mut self, name: &str, node: &Node, first: u64, row: usize) {
        let scale = WIDTH / self.samples as f64;
        let width = node.samples as f64 * scale;
        if width < WIDTH_MIN {
            return;
        }
        let x = MARGIN + first as f64 * scale;
        let y = HEAD_HEIGHT + (self.rows - 1 - row) * ROW_HEIGHT;
        let share = 100.0 * node.samples as f64 / self.samples as f64;
        let shown = name.strip_suffix(KERNEL_MARK).unwrap_or(name);
        let _ = writeln!(
            self.svg,
            "<g><title>{} ({} samples, {share:.2}%)</title><rect x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{}\" fill=\"{}\"/>\
             <text x=\"{:.2}\" y=\"{}\" data-name=\"{}\">{}</text></g>",
            escaped(shown),
            node.samples,
            ROW_HEIGHT - 1,
            colour(name),
            x + 3.0,
            y + ROW_HEIGHT - 5,
            escaped(shown),
            escaped(&fitting(shown, width))
        );
        let mut next = first;
        for (callee, below) in &node.callees {
            self.boxes(callee, below, next, row + 1);
            next += below.samples;
        }
    }
}

const STYLE: &str = "rect{rx:1} g:hover>rect{stroke:#222} text{pointer-events:none}";

/// Zooms: every box remembers where it was drawn.
const SCRIPT: &str = r#"
const width = 1200, margin = 10, letter = 7.2;
const boxes = [...document.querySelectorAll('g')].map(g => {
  const rect = g.querySelector('rect'), text = g.querySelector('text');
  return { g, rect, text, x: +rect.getAttribute('x'), y: +rect.getAttribute('y'), w: +rect.getAttribute('width') };
});
function zoom(to) {
  for (const box of boxes) {
    const above = box.x + box.w > to.x + .01 && box.x < to.x + to.w - .01;
    box.g.style.display = above ? '' : 'none';
    const x = Math.max(margin, margin + (box.x - to.x) * width / to.w);
    const w = Math.min(width - (x - margin), box.w * width / to.w);
    box.rect.setAttribute('x', x);
    box.rect.setAttribute('width', Math.max(w, .1));
    box.text.setAttribute('x', x + 3);
    const name = box.text.dataset.name, room = Math.floor((w - 6) / letter);
    box.text.textContent = room >= name.length ? name : room > 3 ? name.slice(0, room - 2) + '..' : '';
  }
}
boxes.forEach(box => box.rect.addEventListener('click', () => zoom(box)));
"#;

/// As much of a name as fits.
fn fitting(name: &str, width: f64) -> String {
    let room = ((width - 6.0) / LETTER_WIDTH).max(0.0);
    let count = name.chars().count();
    if (count as f64) <= room {
        return name.to_owned();
    }
    let kept = (0..count).take_while(|number| (number + 3) as f64 <= room).count();
    if kept < 2 { String::new() } else { name.chars().take(kept).chain("..".chars()).collect() }
}

/// Warm for the program, cold for the kernel; the name decides the shade, so a function looks the same everywhere.
fn colour(name: &str) -> String {
    let hash = name.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let (hue, light) = (hash % 30, 62 + hash / 30 % 14);
    let base = if name.ends_with(KERNEL_MARK) { 200 } else { 20 };
    format!("hsl({}, 75%, {light}%)", base + hue)
}

/// Text as XML has it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter if letter.is_control() => out.push('?'),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(stacks: &[(&str, u64)]) -> String {
        draw("a <title>", &stacks.iter().map(|(stack, count)| ((*stack).to_owned(), *count)).collect())
    }

    #[test]
    fn boxes_are_as_wide_as_their_share() {
        let svg = drawn(&[("p;main;work", 30), ("p;main", 10), ("p;main;write_[k]", 60)]);
        assert!(svg.contains("<title>all (100 samples, 100.00%)</title><rect x=\"10.00\""), "{svg}");
        assert!(svg.contains("<title>work (30 samples, 30.00%)</title><rect x=\"10.00\""));
        assert!(svg.contains("<title>write (60 samples, 60.00%)</title><rect x=\"370.00\""));
        assert!(svg.contains("width=\"720.00\" height=\"16\" fill=\"hsl(2"), "the kernel is blue");
        assert!(svg.contains(">a &lt;title&gt;</text>"));
    }

    #[test]
    fn names_are_cut_and_escaped() {
        let svg = drawn(&[("p;f<A, B>&\"x\"", 1000), ("p;narrow_as_a_hair", 1), ("p;a_long_name_in_a_small_box", 90)]);
        assert!(svg.contains("f&lt;A, B&gt;&amp;&quot;x&quot;"));
        assert!(svg.contains(">a_long_name"));
        assert!(!svg.contains(">a_long_name_in_a_small_box</text>"));
        assert!(svg.contains("narrow_as_a_hair (1 samples"));
        assert_eq!(fitting("abc", 100.0), "abc");
        assert_eq!(fitting("abcdefghijkl", 50.0), "abcd..");
        assert_eq!(fitting("abcdefghijkl", 20.0), "");
    }
}

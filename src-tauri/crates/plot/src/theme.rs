//! The colours, as the window has them: `ui/src/styles/tokens.css`, kept equal by a test.

/// Red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Colour(pub u8, pub u8, pub u8);

impl Colour {
    /// `#rrggbb`; `None` for anything else, so that nothing foreign gets into a picture.
    pub fn parse(text: &str) -> Option<Self> {
        let hex =
            text.strip_prefix('#').filter(|h| h.len() == 6 && h.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let part = |from: usize| u8::from_str_radix(hex.get(from..from + 2)?, 16).ok();
        Some(Self(part(0)?, part(2)?, part(4)?))
    }
}

/// The window's dark or light colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    pub name: &'static str,
    pub surface: Colour,
    pub line: Colour,
    pub text: Colour,
    pub text_2: Colour,
    pub text_3: Colour,
    pub warn: Colour,
    pub bad: Colour,
    pub mem_system: Colour,
    pub mem_free: Colour,
    pub mem_limit: Colour,
    /// The hues of agents, in the order of [`HUES`].
    pub hues: [Colour; HUES.len()],
}

/// The names of hues: six agents have their own, the others are given out in this order.
pub const HUES: [&str; 20] = [
    "thor",
    "valkyrie",
    "odin",
    "heimdall",
    "loki",
    "frigga",
    "rowan",
    "heather",
    "foxglove",
    "lichen",
    "moss",
    "cloudberry",
    "orchid",
    "clay",
    "fjord",
    "thistle",
    "juniper",
    "glacier",
    "rust",
    "bilberry",
];

/// How many of [`HUES`] belong to an agent of that name.
const NAMED: usize = 6;

impl Theme {
    pub const DARK: Self = Self {
        name: "dark",
        surface: Colour(0x16, 0x19, 0x1d),
        line: Colour(0x23, 0x28, 0x2e),
        text: Colour(0xec, 0xee, 0xf1),
        text_2: Colour(0xb0, 0xb7, 0xc0),
        text_3: Colour(0x8e, 0x96, 0xa1),
        warn: Colour(0xf2, 0xb9, 0x50),
        bad: Colour(0xff, 0x84, 0x84),
        mem_system: Colour(0x68, 0x72, 0x80),
        mem_free: Colour(0x14, 0x17, 0x1a),
        mem_limit: Colour(0xec, 0xee, 0xf1),
        hues: [
            Colour(0xee, 0xc3, 0x51),
            Colour(0x5c, 0x82, 0xe6),
            Colour(0xaa, 0x6a, 0x95),
            Colour(0x84, 0xdd, 0xf3),
            Colour(0xd2, 0x72, 0x2a),
            Colour(0x30, 0xb8, 0xa0),
            Colour(0xd7, 0x0d, 0x40),
            Colour(0xe9, 0x89, 0xe1),
            Colour(0xaf, 0x33, 0xbb),
            Colour(0xd4, 0xf7, 0x35),
            Colour(0xaf, 0xa7, 0x67),
            Colour(0xfe, 0xdc, 0xd3),
            Colour(0xea, 0x41, 0xb9),
            Colour(0x8c, 0x63, 0x5c),
            Colour(0x2d, 0x62, 0xe3),
            Colour(0xdb, 0xad, 0xcf),
            Colour(0x7a, 0x8e, 0x6b),
            Colour(0x34, 0xbf, 0xfe),
            Colour(0xfd, 0x87, 0x22),
            Colour(0x7b, 0x61, 0x96),
        ],
    };

    pub const LIGHT: Self = Self {
        name: "light",
        surface: Colour(0xff, 0xff, 0xff),
        line: Colour(0xe1, 0xe4, 0xe9),
        text: Colour(0x16, 0x19, 0x1d),
        text_2: Colour(0x46, 0x4e, 0x58),
        text_3: Colour(0x60, 0x68, 0x73),
        warn: Colour(0x8a, 0x56, 0x00),
        bad: Colour(0xbe, 0x26, 0x30),
        mem_system: Colour(0x6c, 0x75, 0x81),
        mem_free: Colour(0xff, 0xff, 0xff),
        mem_limit: Colour(0x16, 0x19, 0x1d),
        hues: [
            Colour(0xc2, 0x72, 0x05),
            Colour(0x1e, 0x42, 0xa4),
            Colour(0x80, 0x27, 0x56),
            Colour(0x0f, 0x77, 0x99),
            Colour(0xa3, 0x42, 0x17),
            Colour(0x15, 0xa2, 0x8b),
            Colour(0x3f, 0x25, 0x28),
            Colour(0xa4, 0x49, 0xec),
            Colour(0x95, 0x7e, 0xc0),
            Colour(0x38, 0x43, 0x01),
            Colour(0x60, 0x67, 0x4d),
            Colour(0xf4, 0x4b, 0x70),
            Colour(0x5d, 0x0f, 0x71),
            Colour(0xd3, 0x0d, 0x61),
            Colour(0x19, 0x05, 0x98),
            Colour(0xc0, 0x2b, 0xba),
            Colour(0x6c, 0x94, 0x48),
            Colour(0x16, 0x2e, 0x50),
            Colour(0x8a, 0x07, 0x00),
            Colour(0x5b, 0x44, 0x81),
        ],
    };

    pub fn hue(&self, name: &str) -> Option<Colour> {
        HUES.iter().position(|h| *h == name).and_then(|n| self.hues.get(n)).copied()
    }
}

/// Each agent's colour: its own (a hue's name or `#rrggbb`), that of its name, or the next hue that nobody has. The same
/// as the window gives it, when the agents come in the order of the stack.
pub fn dressed(agents: &[(&str, Option<&str>)], theme: &Theme) -> Vec<Colour> {
    let own = |name: &str, colour: Option<&str>| -> Option<(Option<usize>, Colour)> {
        let place = |name: &str| HUES.iter().position(|h| *h == name);
        if let Some(colour) = colour {
            if let Some(n) = place(colour) {
                return Some((Some(n), *theme.hues.get(n)?));
            }
            if let Some(parsed) = Colour::parse(colour) {
                return Some((None, parsed));
            }
        }
        let n = place(name).filter(|n| *n < NAMED)?;
        Some((Some(n), *theme.hues.get(n)?))
    };
    let taken: Vec<usize> = agents.iter().filter_map(|(n, c)| own(n, *c)?.0).collect();
    let free: Vec<usize> = (NAMED..HUES.len()).filter(|n| !taken.contains(n)).collect();
    // When all are given out, they go round again.
    let round = if free.is_empty() { (NAMED..HUES.len()).collect() } else { free };
    let mut next = round.iter().cycle();
    agents
        .iter()
        .map(|(name, colour)| match own(name, *colour) {
            Some((_, colour)) => colour,
            None => next.next().and_then(|n| theme.hues.get(*n)).copied().unwrap_or(theme.text_2),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colours_are_those_of_the_window() {
        let css = include_str!("../../../../ui/src/styles/tokens.css");
        for theme in [Theme::DARK, Theme::LIGHT] {
            let head = format!("[data-theme=\"{}\"] {{", theme.name);
            let block = css.split(&head).nth(1).and_then(|rest| rest.split('}').next()).unwrap();
            let token = |name: &str| {
                let value =
                    block.split(&format!("--{name}: ")).nth(1).and_then(|rest| rest.split(';').next());
                Colour::parse(value.unwrap_or_else(|| panic!("{name} is not in the {} theme", theme.name)))
                    .unwrap()
            };
            for (name, ours) in [
                ("surface", theme.surface),
                ("line", theme.line),
                ("text", theme.text),
                ("text-2", theme.text_2),
                ("text-3", theme.text_3),
                ("warn", theme.warn),
                ("bad", theme.bad),
                ("mem-system", theme.mem_system),
                ("mem-free", theme.mem_free),
                ("mem-limit", theme.mem_limit),
            ] {
                assert_eq!(ours, token(name), "--{name} of the {} theme", theme.name);
            }
            for (hue, ours) in HUES.iter().zip(theme.hues) {
                assert_eq!(ours, token(hue), "--{hue} of the {} theme", theme.name);
            }
        }
    }

    #[test]
    fn the_hues_are_given_out_as_in_the_window() {
        let hues = include_str!("../../../../ui/src/lib/hues.ts");
        let listed: Vec<&str> = hues
            .lines()
            .filter(|l| l.starts_with("export const KNOWN") || l.trim_start().starts_with("\"rowan\""))
            .flat_map(|l| l.split('"').skip(1).step_by(2))
            .collect();
        assert_eq!(listed, HUES);
        let theme = Theme::DARK;
        let agents = [
            ("thor", None),
            ("mimir", None),
            ("bragi", Some("heather")),
            ("idun", None),
            ("x", Some("#010203")),
        ];
        let colours = dressed(&agents, &theme);
        let hue = |name: &str| theme.hue(name).unwrap();
        assert_eq!(colours, [hue("thor"), hue("rowan"), hue("heather"), hue("foxglove"), Colour(1, 2, 3)]);
    }

    #[test]
    fn only_plain_colours_are_colours() {
        assert_eq!(Colour::parse("#A0b0c0"), Some(Colour(0xa0, 0xb0, 0xc0)));
        for no in ["", "#", "#fff", "red", "#12345g", "#1234567", "url(#x)", "#ééé"] {
            assert_eq!(Colour::parse(no), None, "{no}");
        }
    }
}

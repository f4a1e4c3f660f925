//! Breadth-first exploration of a small world, for the checks of pure state machines.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::{BuildHasher, Hash, RandomState};

/// A state by its fingerprint.
type Mark = (u64, u64);

pub struct Explored {
    pub states: usize,
    pub broken: Option<(&'static str, Vec<String>)>,
}

impl Explored {
    /// Prints how many states there were, and fails if a rule was broken or there were fewer than `floor`.
    pub fn holds(&self, name: &str, about: &str, floor: usize) {
        println!("{name}: {} states, {about}", self.states);
        if let Some((rule, trace)) = &self.broken {
            panic!("{name}: {rule}\n{}", trace.join("\n"));
        }
        assert!(
            self.states >= floor,
            "{name}: only {} states, expected {floor}",
            self.states
        );
    }

    /// Prints how a planted mistake was seen, and fails if it was not, or broke none of these rules.
    pub fn breaks(&self, plant: &str, rules: &[&str]) {
        let Some((broken, trace)) = &self.broken else {
            panic!("{plant} was not found in {} states", self.states)
        };
        println!(
            "{plant}: {broken}, {} steps, {} states",
            trace.len() - 1,
            self.states
        );
        assert!(
            rules.iter().any(|rule| broken.starts_with(rule)),
            "{plant} broke {broken}, expected {rules:?}"
        );
    }
}

/// Breadth first, so that a trace is as short as can be. States are remembered by a 128-bit fingerprint.
pub fn explore<World: Hash + Debug, Steps: IntoIterator<Item = (&'static str, World)>>(
    start: World,
    steps: impl Fn(&World) -> Steps,
    broken: impl Fn(&World) -> Option<&'static str>,
) -> Explored {
    let (one, two) = (RandomState::new(), RandomState::new());
    let mark = |w: &World| (one.hash_one(w), two.hash_one(w));
    let mut came_from: HashMap<Mark, (Mark, &'static str)> = HashMap::new();
    let first = mark(&start);
    came_from.insert(first, (first, "start"));
    let mut queue = VecDeque::from([start]);
    while let Some(world) = queue.pop_front() {
        let from = mark(&world);
        for (label, after) in steps(&world) {
            let rule = broken(&after);
            let to = mark(&after);
            if came_from.contains_key(&to) {
                continue;
            }
            came_from.insert(to, (from, label));
            if let Some(rule) = rule {
                let mut trace = vec![format!("{after:#?}")];
                let mut at = to;
                while at != first {
                    let (previous, label) = came_from[&at];
                    trace.push(label.to_owned());
                    at = previous;
                }
                trace.reverse();
                return Explored {
                    states: came_from.len(),
                    broken: Some((rule, trace)),
                };
            }
            queue.push_back(after);
        }
    }
    Explored {
        states: came_from.len(),
        broken: None,
    }
}

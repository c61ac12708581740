//! The shortest sequence that shows the same: steps are left out for as long as there is still a difference.

use crate::step::Step;

/// Leaves out ever shorter runs of steps. `differs` says whether a sequence still shows a difference.
pub(crate) fn shrink(mut steps: Vec<Step>, mut differs: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut run = steps.len().div_ceil(2);
    loop {
        let before = steps.len();
        let mut from = 0;
        while from < steps.len() {
            let rest = [&steps[..from], &steps[(from + run).min(steps.len())..]].concat();
            if differs(&rest) {
                steps = rest;
            } else {
                from += run;
            }
        }
        // Single steps again and again: without the later ones an earlier one may not be needed either.
        if run == 1 && steps.len() == before {
            return steps;
        }
        run = run.div_ceil(2).max(1);
    }
}

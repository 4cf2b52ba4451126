//! A rotation that spreads what a few components hold evenly over all of them, in about d log d steps:
//! signs and Walsh-Hadamard transforms (Ailon and Chazelle, The fast Johnson-Lindenstrauss transform, 2009).

/// Which signs are turned before which transform.
#[derive(Debug)]
pub(super) struct Rotation {
    /// Components of a transform, the largest power of two that there are as many of.
    length: usize,
    /// What the transform of the first components is multiplied with, sign and scale, and that of the last
    /// ones, which overlap; none where the first are all.
    factors: Vec<Vec<f32>>,
}

impl Rotation {
    pub fn new(dim: usize) -> Self {
        let length = if dim == 0 { 0 } else { 1 << dim.ilog2() };
        let scale = 1.0 / (length as f32).sqrt();
        let passes = if length == dim { 1 } else { 2 };
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut factor = || {
            // xorshift64: any signs would do, as long as they have no pattern that data has too.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if state >> 63 == 0 { scale } else { -scale }
        };
        Self { length, factors: (0..passes).map(|_| (0..length).map(|_| factor()).collect()).collect() }
    }

    /// Turns a row of `dim` components.
    ///
    /// In float32 the result is within `roundings() * 2^-24 * |row|` of the exact rotation of some row, up to
    /// the second order: each factor and each step of a transform round every component once.
    pub fn turn(&self, row: &mut [f32]) {
        for (pass, factors) in self.factors.iter().enumerate() {
            let from = if pass == 0 { 0 } else { row.len() - self.length };
            let part = &mut row[from..][..self.length];
            part.iter_mut().zip(factors).for_each(|(x, factor)| *x *= factor);
            transform(part);
        }
    }

    /// Roundings of a component on its way, that of the scale included.
    pub fn roundings(&self) -> usize {
        self.factors.len() * (self.length.max(1).ilog2() as usize + 2)
    }
}

/// The Walsh-Hadamard transform, not normalised.
fn transform(row: &mut [f32]) {
    let mut half = 1;
    while half < row.len() {
        for part in row.chunks_exact_mut(2 * half) {
            let (low, high) = part.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn distances_stay_and_spikes_are_spread(dim in 1usize..1200, place in any::<prop::sample::Index>()) {
            let rotation = Rotation::new(dim);
            let mut spike = vec![0.0f32; dim];
            spike[place.index(dim)] = 1.0;
            let mut ramp: Vec<f32> = (0..dim).map(|i| (i as f32 / dim as f32 - 0.3).powi(3)).collect();
            let distance = |x: &[f32], y: &[f32]| {
                x.iter().zip(y).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum::<f64>().sqrt()
            };
            let (zero, before) = (vec![0.0; dim], distance(&spike, &ramp));
            let size = distance(&ramp, &zero);
            rotation.turn(&mut spike);
            rotation.turn(&mut ramp);
            let bound = rotation.roundings() as f64 * f64::from(f32::EPSILON) / 2.0 * 1.01;
            prop_assert!((distance(&spike, &zero) - 1.0).abs() <= bound);
            prop_assert!((distance(&ramp, &zero) - size).abs() <= bound * size);
            prop_assert!((distance(&spike, &ramp) - before).abs() <= bound * (1.0 + size));
            if dim >= 64 {
                let peak = spike.iter().fold(0.0f32, |peak, x| x.abs().max(peak));
                prop_assert!(peak < 0.75, "{peak} of {dim}");
            }
        }
    }
}

//! The library's engine, with another way to find the error locator of a small code.
//!
//! To decode, the library evaluates at every position `x` the logarithm of the product of `x - e`
//! over all lost positions `e`, for all 65,536 elements of the field, by two Walsh-Hadamard
//! transforms: a tenth of a millisecond, whatever the number of shards. A committee has a few, so
//! here the sum of logarithms is written out for the positions that are looked at. Both give the
//! same numbers modulo 65,535, and nothing but powers of the same element is made of them.

use reed_solomon_simd::engine::{
    DefaultEngine, Engine, GF_MODULUS, GF_ORDER, GfElement, ShardsRefMut, tables,
};

/// Most positions looked at one by one: where the transforms begin to be faster.
const MOST: usize = 1_024;

/// [`DefaultEngine`], but for the error locator.
pub(super) struct SmallCodes(DefaultEngine);

impl SmallCodes {
    pub(super) fn new() -> Self {
        Self(DefaultEngine::new())
    }
}

impl Engine for SmallCodes {
    fn fft(&self, data: &mut ShardsRefMut<'_>, pos: usize, size: usize, cut: usize, skew: usize) {
        self.0.fft(data, pos, size, cut, skew);
    }

    fn ifft(&self, data: &mut ShardsRefMut<'_>, pos: usize, size: usize, cut: usize, skew: usize) {
        self.0.ifft(data, pos, size, cut, skew);
    }

    fn mul(&self, x: &mut [[u8; 64]], log_m: GfElement) {
        self.0.mul(x, log_m);
    }

    fn eval_poly(erasures: &mut [GfElement; GF_ORDER], truncated_size: usize) {
        if !small(erasures, truncated_size) {
            DefaultEngine::eval_poly(erasures, truncated_size);
        }
    }
}

/// Evaluates the locator where it is looked at, if these are few positions; whether they are.
fn small(erasures: &mut [GfElement; GF_ORDER], truncated_size: usize) -> bool {
    let log = &tables::get_exp_log().log;
    let log = |x: usize| if x == 0 { 0 } else { u64::from(log[x]) };
    let modulus = u64::from(GF_MODULUS);
    if truncated_size <= MOST {
        // High rate: nothing behind `truncated_size` is lost or looked at.
        let lost: Vec<usize> = (0..truncated_size).filter(|i| erasures[*i] != 0).collect();
        for (x, erasure) in erasures.iter_mut().enumerate().take(truncated_size) {
            let sum: u64 = lost.iter().map(|e| log(x ^ e)).sum();
            *erasure = (sum % modulus) as GfElement;
        }
        return true;
    }
    // Low rate: everything behind the last shard counts as lost. The sum over all positions is the
    // same wherever it is taken, so what is there is taken away from it. As many shards are there as
    // data shards, so the last of them stands behind every data shard that is missing.
    let Some(last) = erasures.iter().rposition(|lost| *lost == 0).filter(|last| *last < MOST)
    else {
        return false;
    };
    let there: Vec<usize> = (0..=last).filter(|i| erasures[*i] == 0).collect();
    // Every nonzero element has one of the logarithms 0 to 65,534.
    let all = modulus * (modulus - 1) / 2 % modulus;
    for (x, erasure) in erasures.iter_mut().enumerate().take(last + 1) {
        let sum: u64 = there.iter().map(|p| log(x ^ p)).sum();
        *erasure = ((all + modulus - sum % modulus) % modulus) as GfElement;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is looked at, of both ways, modulo 65,535.
    fn both(lost: impl Fn(usize) -> bool, cut: usize, looked_at: usize) {
        let mut ours = Box::new([0; GF_ORDER]);
        for (i, erasure) in ours.iter_mut().enumerate() {
            *erasure = GfElement::from(lost(i));
        }
        let mut theirs = ours.clone();
        assert!(small(&mut ours, cut));
        DefaultEngine::eval_poly(&mut theirs, cut);
        let same = (0..looked_at).all(|i| ours[i] % GF_MODULUS == theirs[i] % GF_MODULUS);
        assert!(same, "cut {cut}, {looked_at} looked at");
    }

    #[test]
    fn both_ways_give_the_same() {
        for k in 1..20usize {
            for m in 1..20usize {
                let pattern = |i: usize| (i * 7 + k * 3 + m).is_multiple_of(3);
                // High rate: parity, up to a power of two, then data.
                let chunk = m.next_power_of_two();
                let end = chunk + k;
                both(|i| i < end && (pattern(i) || (m..chunk).contains(&i)), end, end);
                // Low rate: data, up to a power of two, then parity, and everything behind is lost.
                let chunk = k.next_power_of_two();
                let end = chunk + m;
                let gone =
                    |i: usize| i >= end || (i < k || i >= chunk) && pattern(i) && i != end - 1;
                both(gone, GF_ORDER, end);
            }
        }
    }
}

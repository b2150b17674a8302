//! The widest vectors that the processor has, found out at run time.

/// Work that is compiled for every kind of processor.
///
/// What it calls must be inlined into it, closures with `#[inline(always)]` too: what is not is compiled for the oldest
/// processors only.
pub(crate) trait Vectorised {
    type Output;

    /// Must be `#[inline(always)]`.
    fn run(self) -> Self::Output;
}

/// Runs the work as it was compiled for this processor.
#[inline]
pub(crate) fn vectorised<W: Vectorised>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
        fn with_avx512<W: Vectorised>(work: W) -> W::Output {
            work.run()
        }

        #[target_feature(enable = "avx2,fma")]
        fn with_avx2<W: Vectorised>(work: W) -> W::Output {
            work.run()
        }

        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        if avx2 && avx512 {
            // SAFETY: the processor has every feature that the function is compiled for.
            #[allow(unsafe_code)]
            return unsafe { with_avx512(work) };
        }
        if avx2 {
            // SAFETY: as above.
            #[allow(unsafe_code)]
            return unsafe { with_avx2(work) };
        }
    }
    work.run()
}

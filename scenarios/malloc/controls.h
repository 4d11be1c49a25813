/* SPDX-License-Identifier: MIT */
/* controls.h - the negative controls of scenario.yaml; what each does is said where it is used. */
#ifndef CONTROLS_H
#define CONTROLS_H

#ifndef MUTATE_ALLOWED_RISE
#define MUTATE_ALLOWED_RISE 0
#endif
#ifndef MUTATE_ALONE
#define MUTATE_ALONE 0
#endif
#ifndef MUTATE_BELOW_MMAP
#define MUTATE_BELOW_MMAP 0
#endif
#ifndef MUTATE_BELOW_THRESHOLD
#define MUTATE_BELOW_THRESHOLD 0
#endif
#ifndef MUTATE_BROKEN_SIZE
#define MUTATE_BROKEN_SIZE 0
#endif
#ifndef MUTATE_CACHED_ONLY
#define MUTATE_CACHED_ONLY 0
#endif
#ifndef MUTATE_CUT_ALL
#define MUTATE_CUT_ALL 0
#endif
#ifndef MUTATE_FIRST_LARGE
#define MUTATE_FIRST_LARGE 0
#endif
#ifndef MUTATE_FOREIGN_GROWTH
#define MUTATE_FOREIGN_GROWTH 0
#endif
#ifndef MUTATE_FROM_HEAP
#define MUTATE_FROM_HEAP 0
#endif
#ifndef MUTATE_HARMLESS
#define MUTATE_HARMLESS 0
#endif
#ifndef MUTATE_IN_THREAD
#define MUTATE_IN_THREAD 0
#endif
#ifndef MUTATE_KEEP_BLOCK
#define MUTATE_KEEP_BLOCK 0
#endif
#ifndef MUTATE_KEEP_LARGE
#define MUTATE_KEEP_LARGE 0
#endif
#ifndef MUTATE_KEEP_LAST
#define MUTATE_KEEP_LAST 0
#endif
#ifndef MUTATE_KEEP_MAPPING
#define MUTATE_KEEP_MAPPING 0
#endif
#ifndef MUTATE_KEEP_SECOND
#define MUTATE_KEEP_SECOND 0
#endif
#ifndef MUTATE_LARGER_REQUEST
#define MUTATE_LARGER_REQUEST 0
#endif
#ifndef MUTATE_LARGE_AS_SMALL
#define MUTATE_LARGE_AS_SMALL 0
#endif
#ifndef MUTATE_LOW_TRIM
#define MUTATE_LOW_TRIM 0
#endif
#ifndef MUTATE_MAIN_THREAD
#define MUTATE_MAIN_THREAD 0
#endif
#ifndef MUTATE_MORE_LATER
#define MUTATE_MORE_LATER 0
#endif
#ifndef MUTATE_MORE_GROWTH
#define MUTATE_MORE_GROWTH 0
#endif
#ifndef MUTATE_NEXT_CLASS
#define MUTATE_NEXT_CLASS 0
#endif
#ifndef MUTATE_NOTHING_FREE
#define MUTATE_NOTHING_FREE 0
#endif
#ifndef MUTATE_NOT_CACHED
#define MUTATE_NOT_CACHED 0
#endif
#ifndef MUTATE_NO_BEST
#define MUTATE_NO_BEST 0
#endif
#ifndef MUTATE_NO_FOREIGN
#define MUTATE_NO_FOREIGN 0
#endif
#ifndef MUTATE_NO_MERGE
#define MUTATE_NO_MERGE 0
#endif
#ifndef MUTATE_NO_REQUEST
#define MUTATE_NO_REQUEST 0
#endif
#ifndef MUTATE_NO_SECOND
#define MUTATE_NO_SECOND 0
#endif
#ifndef MUTATE_NO_SORT
#define MUTATE_NO_SORT 0
#endif
#ifndef MUTATE_NO_TRIM
#define MUTATE_NO_TRIM 0
#endif
#ifndef MUTATE_NO_WALL
#define MUTATE_NO_WALL 0
#endif
#ifndef MUTATE_ODD_BLOCK
#define MUTATE_ODD_BLOCK 0
#endif
#ifndef MUTATE_ONE_MORE
#define MUTATE_ONE_MORE 0
#endif
#ifndef MUTATE_OTHER_ORDER
#define MUTATE_OTHER_ORDER 0
#endif
#ifndef MUTATE_OVERLAP
#define MUTATE_OVERLAP 0
#endif
#ifndef MUTATE_POSSIBLE_REQUEST
#define MUTATE_POSSIBLE_REQUEST 0
#endif
#ifndef MUTATE_REVERSED
#define MUTATE_REVERSED 0
#endif
#ifndef MUTATE_SHORT_WRITE
#define MUTATE_SHORT_WRITE 0
#endif
#ifndef MUTATE_SMALL_FIRST
#define MUTATE_SMALL_FIRST 0
#endif
#ifndef MUTATE_SMALL_REALLOC
#define MUTATE_SMALL_REALLOC 0
#endif
#ifndef MUTATE_UNSORTED_ORDER
#define MUTATE_UNSORTED_ORDER 0
#endif

#endif

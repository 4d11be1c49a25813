/* SPDX-License-Identifier: MIT */
/* mutations.h - the negative controls of scenario.yaml; what each does is said where it is used. */
#ifndef MUTATIONS_H
#define MUTATIONS_H

#ifndef MUTATE_OVERRUN
#define MUTATE_OVERRUN 0
#endif
#ifndef MUTATE_LONGER
#define MUTATE_LONGER 0
#endif
#ifndef MUTATE_NO_ZERO
#define MUTATE_NO_ZERO 0
#endif
#ifndef MUTATE_NO_COPY
#define MUTATE_NO_COPY 0
#endif
#ifndef MUTATE_NO_ALIGNMENT
#define MUTATE_NO_ALIGNMENT 0
#endif
#ifndef MUTATE_SHORT
#define MUTATE_SHORT 0
#endif
#ifndef MUTATE_FORGET
#define MUTATE_FORGET 0
#endif
#ifndef MUTATE_LEAK
#define MUTATE_LEAK 0
#endif
#ifndef MUTATE_FOREIGN_BREAK
#define MUTATE_FOREIGN_BREAK 0
#endif
#ifndef MUTATE_FOREIGN_PROTECT
#define MUTATE_FOREIGN_PROTECT 0
#endif
#ifndef MUTATE_FOREIGN_MAPPING
#define MUTATE_FOREIGN_MAPPING 0
#endif
#ifndef MUTATE_FORGET_MAPPED
#define MUTATE_FORGET_MAPPED 0
#endif
#ifndef MUTATE_OLD_MALLINFO
#define MUTATE_OLD_MALLINFO 0
#endif
#ifndef MUTATE_FEW_THREADS
#define MUTATE_FEW_THREADS 0
#endif
#ifndef MUTATE_BYSTANDER
#define MUTATE_BYSTANDER 0
#endif
#ifndef MUTATE_ONLY_SMALL
#define MUTATE_ONLY_SMALL 0
#endif
#ifndef MUTATE_STOP_EARLY
#define MUTATE_STOP_EARLY 0
#endif
#ifndef MUTATE_KEEP_OWN
#define MUTATE_KEEP_OWN 0
#endif
#ifndef MUTATE_EARLY_END
#define MUTATE_EARLY_END 0
#endif
#ifndef MUTATE_FOOT
#define MUTATE_FOOT 0
#endif
#ifndef MUTATE_HEADER
#define MUTATE_HEADER 0
#endif
#ifndef MUTATE_LATE_BLOCK
#define MUTATE_LATE_BLOCK 0
#endif

/* What a mutation breaks shows with a small part of the operations. */
#define MUTATED \
	(MUTATE_OVERRUN || MUTATE_LONGER || MUTATE_NO_ZERO || MUTATE_NO_COPY || \
	 MUTATE_NO_ALIGNMENT || MUTATE_SHORT || MUTATE_FORGET || MUTATE_LEAK || \
	 MUTATE_FOREIGN_BREAK || MUTATE_FOREIGN_PROTECT || MUTATE_FOREIGN_MAPPING || \
	 MUTATE_FORGET_MAPPED || MUTATE_OLD_MALLINFO || MUTATE_FEW_THREADS || MUTATE_ONLY_SMALL || \
	 MUTATE_STOP_EARLY || MUTATE_KEEP_OWN || MUTATE_EARLY_END || MUTATE_BYSTANDER || \
	 MUTATE_FOOT || MUTATE_HEADER || MUTATE_LATE_BLOCK)

#endif

/* SPDX-License-Identifier: MIT */
/* mutations.h - the negative controls of scenario.yaml; what each does is said where it is used. */
#ifndef MUTATIONS_H
#define MUTATIONS_H

#ifndef MUTATE_ACCESSIBLE
#define MUTATE_ACCESSIBLE 0
#endif
#ifndef MUTATE_ANONYMOUS_CODE
#define MUTATE_ANONYMOUS_CODE 0
#endif
#ifndef MUTATE_CLOSED_NEIGHBOUR
#define MUTATE_CLOSED_NEIGHBOUR 0
#endif
#ifndef MUTATE_EARLY_LIMIT
#define MUTATE_EARLY_LIMIT 0
#endif
#ifndef MUTATE_EVERY_PAGE
#define MUTATE_EVERY_PAGE 0
#endif
#ifndef MUTATE_FIXED_HINT
#define MUTATE_FIXED_HINT 0
#endif
#ifndef MUTATE_FIXED_WALL
#define MUTATE_FIXED_WALL 0
#endif
#ifndef MUTATE_GIVE_UP
#define MUTATE_GIVE_UP 0
#endif
#ifndef MUTATE_INSIDE
#define MUTATE_INSIDE 0
#endif
#ifndef MUTATE_MAPPED_HOLE
#define MUTATE_MAPPED_HOLE 0
#endif
#ifndef MUTATE_NEAR
#define MUTATE_NEAR 0
#endif
#ifndef MUTATE_NEIGHBOUR
#define MUTATE_NEIGHBOUR 0
#endif
#ifndef MUTATE_NOT_LOWERED
#define MUTATE_NOT_LOWERED 0
#endif
#ifndef MUTATE_NOT_RAISED
#define MUTATE_NOT_RAISED 0
#endif
#ifndef MUTATE_NO_HANDLER
#define MUTATE_NO_HANDLER 0
#endif
#ifndef MUTATE_NO_OVERFLOW
#define MUTATE_NO_OVERFLOW 0
#endif
#ifndef MUTATE_NO_PERMISSIONS
#define MUTATE_NO_PERMISSIONS 0
#endif
#ifndef MUTATE_NO_RANDOM
#define MUTATE_NO_RANDOM 0
#endif
#ifndef MUTATE_ONLY_READS
#define MUTATE_ONLY_READS 0
#endif
#ifndef MUTATE_ON_MAIN_STACK
#define MUTATE_ON_MAIN_STACK 0
#endif
#ifndef MUTATE_OPEN_GAP
#define MUTATE_OPEN_GAP 0
#endif
#ifndef MUTATE_OTHER_DEATHS
#define MUTATE_OTHER_DEATHS 0
#endif
#ifndef MUTATE_OTHER_DIES
#define MUTATE_OTHER_DIES 0
#endif
#ifndef MUTATE_OTHER_END
#define MUTATE_OTHER_END 0
#endif
#ifndef MUTATE_OTHER_LARGE
#define MUTATE_OTHER_LARGE 0
#endif
#ifndef MUTATE_OTHER_SMALL
#define MUTATE_OTHER_SMALL 0
#endif
#ifndef MUTATE_PLAIN_MAPPING
#define MUTATE_PLAIN_MAPPING 0
#endif
#ifndef MUTATE_PROBES
#define MUTATE_PROBES 0
#endif
#ifndef MUTATE_STEPS
#define MUTATE_STEPS 0
#endif
#ifndef MUTATE_UNHANDLED
#define MUTATE_UNHANDLED 0
#endif
#ifndef MUTATE_UNREADABLE
#define MUTATE_UNREADABLE 0
#endif
#ifndef MUTATE_USER_ADDRESS
#define MUTATE_USER_ADDRESS 0
#endif

#endif

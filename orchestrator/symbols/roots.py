"""What an index begins with: names that drgn's helpers and our collectors look up, by kind.

A list of convenience, never of correctness: from each type everything that its members lead to comes along, a
name that a kernel or a libc does not have is remembered as missing, and one that is not listed here is found in
the debugging information and remembered for the next time (`shelf`). Names of all kernels from 5.10 on and of
all glibcs from 2.31 on stand side by side.
"""

from __future__ import annotations

# How an object or a type is called in an index: its kind, a space, its name.
STRUCT, UNION, CLASS, ENUM, TYPEDEF, OBJECT = "struct", "union", "class", "enum", "typedef", "object"
BASE = "base"  # C's own types, by the compiler's name; none is asked for: those that are used come along

_KERNEL = {
    STRUCT: """
        task_struct thread_struct thread_info thread_node pt_regs inactive_task_frame cred nsproxy uts_namespace
        signal_struct sighand_struct files_struct fdtable fs_struct pid upid pid_namespace rq task_group
        mm_struct vm_area_struct vm_operations_struct vm_special_mapping anon_vma anon_vma_chain anon_vma_name
        page folio ptdesc slab kmem_cache address_space mem_section mem_section_usage pglist_data zone memblock
        per_cpu_pages percpu_counter percpu_ref hstate swap_info_struct vm_struct vmap_area vmap_node
        file inode dentry path vfsmount mount mnt_namespace super_block kernfs_node
        list_head hlist_head hlist_node hlist_nulls_node rb_root rb_root_cached rb_node xarray xa_node
        radix_tree_root radix_tree_node idr maple_tree maple_node module module_memory module_layout cpumask
    """,
    UNION: "thread_union",
    ENUM: """
        pageflags pid_type maple_type zone_type node_stat_item zone_stat_item migratetype mod_mem_type module_state
        compound_dtor_id hugetlb_page_flags pagetype
    """,
    TYPEDEF: """
        bool size_t ptrdiff_t uintptr_t u8 u16 u32 u64 s64 pid_t dev_t loff_t pgoff_t gfp_t phys_addr_t sigset_t
        pgd_t p4d_t pud_t pmd_t pte_t pgdval_t p4dval_t pudval_t pmdval_t pteval_t pgprot_t vm_flags_t swp_entry_t
        atomic_t atomic64_t atomic_long_t kuid_t cpumask_t freelist_idx_t
    """,
    OBJECT: """
        linux_banner init_task init_pid_ns init_mm init_uts_ns init_user_ns pid_hash pidhash_shift task_state_array
        PIDTYPE_PID PIDTYPE_TGID __pgtable_l5_enabled
        vmemmap vmemmap_populate mem_section mem_map page_offset_base vmalloc_base vmemmap_base phys_base
        saved_command_line __highest_present_section_nr
        max_pfn max_mapnr min_low_pfn max_low_pfn memblock node_data contig_page_data _totalram_pages totalram_pages
        empty_zero_page __zero_page zero_pfn huge_zero_page huge_zero_folio huge_zero_pfn hstates hugetlb_max_hstate
        special_mapping_name special_mapping_vmops legacy_special_mapping_vmops gate_vma shmem_vm_ops
        shmem_anon_vm_ops generic_file_vm_ops hugetlb_vm_ops
        MM_FILEPAGES MM_ANONPAGES MM_SWAPENTS MM_SHMEMPAGES NR_MM_COUNTERS
        __NR_PAGEFLAGS PG_head PG_tail PG_compound PG_slab PG_anon_exclusive PG_hwpoison PG_young PG_idle
        HUGETLB_PAGE_DTOR COMPOUND_PAGE_DTOR compound_page_dtors swap_info nr_swapfiles
        __per_cpu_offset runqueues nr_cpu_ids __cpu_online_mask __cpu_present_mask __cpu_possible_mask
        cpu_online_mask cpu_present_mask cpu_possible_mask cpu_bit_bitmap __irq_regs panic_cpu crashing_cpu
        jiffies_64 modules mod_tree MOD_TEXT MOD_MEM_NUM_TYPES slab_caches
        vmap_nodes nr_vmap_nodes vmap_zone_size vmap_area_root vmap_area_list
    """,
}

_LIBC = {
    STRUCT: """
        malloc_state malloc_chunk malloc_par _heap_info tcache_perthread_struct tcache_entry
        pthread list_head link_map r_debug r_debug_extended rtld_global rtld_global_ro dtv_slotinfo dtv_slotinfo_list
        _thread_db_sizeof_list pthread_unwind_buf robust_list_head rseq
    """,
    UNION: "dtv pthread_attr_transparent",
    TYPEDEF: """
        size_t ptrdiff_t uintptr_t mstate mchunkptr mbinptr mfastbinptr heap_info tcache_entry
        tcache_perthread_struct dtv_t tcbhead_t list_t pthread_t INTERNAL_SIZE_T
    """,
    OBJECT: """
        main_arena mp_ tcache thread_arena tcache_shutting_down tcache_key free_list narenas global_max_fast
        perturb_byte __libc_version __libc_initial __libc_single_threaded
        _rtld_global _rtld_global_ro _r_debug _r_debug_extended _dl_random __stack_user __stack_chk_guard
        stack_cache stack_used stack_cache_actsize stack_cache_maxsize __nptl_nthreads __tcache_dummy
    """,
}


def _keys(names: dict[str, str]) -> frozenset[str]:
    return frozenset(f"{kind} {name}" for kind, text in names.items() for name in text.split())


KERNEL = _keys(_KERNEL)
LIBC = _keys(_LIBC)

"""Tests of this folder that fail today, by file and test; delete an entry when its case is mended.

Entries are applied as strict expected failures (see conftest.py).
"""

KNOWN_FAILURES: dict[str, tuple[str, ...]] = {
    "test_all_sizes.py": (
        "test_derive_that_fails_at_some_sizes[h_above_6]",
        "test_derive_that_fails_at_some_sizes[h_below_d]",
        "test_expectation_that_asks_its_size[1]",
        "test_expectation_that_asks_its_size[20]",
        "test_expectation_that_asks_its_size[2]",
        "test_expectation_that_asks_its_size[3]",
        "test_expectation_that_asks_its_size[6]",
        "test_identity_that_asks_in_other_ways[len]",
        "test_identity_that_asks_in_other_ways[size]",
        "test_identity_that_asks_in_other_ways[transposed]",
        "test_identity_that_fails_at_some_sizes[m_below_n]",
        "test_identity_that_fails_at_some_sizes[n_above_100]",
        "test_identity_that_fails_at_some_sizes[n_above_10]",
        "test_identity_that_fails_at_some_sizes[n_above_2]",
        "test_identity_that_fails_at_some_sizes[n_below_m]",
        "test_identity_that_fails_at_some_sizes[n_is_1_m_is_3]",
        "test_identity_that_fails_at_some_sizes[n_is_7]",
        "test_identity_that_fails_at_some_sizes[size_is_large]",
        "test_identity_that_unrolls_a_loop[first_three_rows]",
        "test_identity_that_unrolls_a_loop[first_two_rows]",
        "test_identity_that_unrolls_a_loop[small_power]",
    ),
    "test_axes_indexed_together.py": ("test_swaps_that_move_both_axes_are_found",),
    "test_completeness.py": (
        "test_a_copy_changes_nothing[fori_set]",
        "test_a_copy_changes_nothing[scan_set]",
    ),
    "test_missed_symmetries.py": (
        "test_case_budget_larger_block",
        "test_case_flax_attention_heads[False]",
        "test_case_sliced_first_axis[2]",
        "test_collinear_data",
        "test_collinear_data_laws",
        "test_embedding_laws[integers]",
        "test_f_cnn_derive",
        "test_f_cnn_laws",
        "test_g_embed_integer_columns_without_a_cast",
        "test_i_complex_quaternion",
        "test_k_batch_integer_labels_without_a_cast",
        "test_softmax_grows",
    ),
}

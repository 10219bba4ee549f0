"""slime hands all samples of a rollout to one function: the credit of four of them, two turns each, on a CPU."""

from argparse import Namespace

from slime.utils.types import Sample

from apportion.integrations import slime

args = Namespace(
    apportion={"method": "pooled_td", "states": "observation"},  # an entry of the file --custom-config-path
    custom_reward_post_process_path=slime.REWARDS,
    custom_advantage_function_path=slime.ADVANTAGES,
    advantage_estimator="grpo",
    n_samples_per_prompt=2,
    reward_key=None,
    kl_coef=0.0,
    normalize_advantages=False,
    calculate_per_token_loss=False,
    use_opsm=False,
)
said, mask = [[11, 7, 13], [14, 8, 13], [11, 7, 14], [14, 8, 14]], [1, 0, 1]  # write, see 7 or 8, write
samples = [
    Sample(group_index=i // 2, index=i, tokens=[1, 2, *s], response_length=3, loss_mask=mask, reward=r)
    for i, (s, r) in enumerate(zip(said, [1.0, 0.0, 1.0, 1.0], strict=True))
]
raw, credit = slime.rewards(args, samples)
for x in credit:
    print(x)

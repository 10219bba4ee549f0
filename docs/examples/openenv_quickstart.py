"""An OpenEnv rubric whose steps earn what they changed: four episodes of a shop, on a CPU, without a server."""

from openenv.core.env_server.types import Action, Observation

from apportion.integrations.openenv import CreditRubric


class Page(Observation):
    page: str


class Paid(CreditRubric):
    def score_trajectory(self, trajectory):
        return float(trajectory[-1][1].page == "paid")

    def state_of(self, observation):
        return observation.page


rubric = Paid(credit="pooled_td")
for pages in (["cart", "paid"], ["cart", "paid"], ["ads", "left"], ["cart", "left"]):
    rubric.reset()
    for page in pages:
        rubric(Action(), Page(page=page, done=page in ("paid", "left")))
    print(pages, [round(r, 2) for r in rubric.compute_step_rewards()])
print("all together", [[round(r, 2) for r in episode] for episode in rubric.group_step_rewards()])

import { binder } from './bind.ts'
import type { Caller } from './caller.ts'
import * as clients from './clients/manage.ts'
import * as grants from './grants/manage.ts'
import * as groups from './groups/manage.ts'
import type { GroupId, UserId } from './id.ts'
import { cancelJob, createJob } from './jobs/manage.ts'
import { removeTokenRule, setTokenRule, updatePolicy } from './policy/manage.ts'
import { recordViolation, type Violation, violationIn } from './policy/violation.ts'
import * as roles from './roles/manage.ts'
import type { Repositories } from './store.ts'
import { nameKey } from './text.ts'
import { issueChild } from './tokens/children.ts'
import { issueToken } from './tokens/issue.ts'
import { quarantineToken, releaseToken } from './tokens/quarantine.ts'
import { updateToken } from './tokens/read.ts'
import { revokeSelf, revokeToken } from './tokens/revoke.ts'
import { rotateToken } from './tokens/rotate.ts'
import { extendRotation, finishRotation } from './tokens/rotation.ts'
import { issueServiceToken, revokeServiceToken } from './tokens/service.ts'
import * as users from './users/manage.ts'
import * as webhooks from './webhooks/manage.ts'

export type Writes = ReturnType<typeof writesOf>

/** What can be changed within one transaction. The functions say what each does and throws. */
export function writesOf(
  deps: webhooks.WebhookDeps,
  tx: Repositories,
  refused: (violation: Violation) => void,
) {
  const on = binder(deps, tx)
  /** Notes when it is the policy that refuses. */
  const watched =
    <Wish extends { caller: Caller }, Result>(work: (wish: Wish) => Promise<Result>) =>
    async (wish: Wish): Promise<Result> => {
      try {
        return await work(wish)
      } catch (error) {
        const violation = violationIn(wish.caller, error)
        if (violation !== undefined) refused(violation)
        throw error
      }
    }
  return {
    issueToken: watched(on(issueToken)),
    issueChild: watched(on(issueChild)),
    issueServiceToken: on(issueServiceToken),
    revokeServiceToken: on(revokeServiceToken),
    updateToken: on(updateToken),
    rotateToken: watched(on(rotateToken)),
    finishRotation: on(finishRotation),
    extendRotation: on(extendRotation),
    revokeToken: on(revokeToken),
    revokeSelf: on(revokeSelf),
    quarantineToken: on(quarantineToken),
    releaseToken: on(releaseToken),
    createUser: on(users.createUser),
    updateUser: on(users.updateUser),
    deleteUser: on(users.deleteUser),
    createGroup: on(groups.createGroup),
    updateGroup: on(groups.updateGroup),
    deleteGroup: on(groups.deleteGroup),
    setMembership: on(groups.setMembership),
    removeMembership: on(groups.removeMembership),
    createRole: on(roles.createRole),
    updateRole: on(roles.updateRole),
    deleteRole: on(roles.deleteRole),
    createClient: on(clients.createClient),
    updateClient: on(clients.updateClient),
    replaceClientSecret: on(clients.replaceClientSecret),
    deleteClient: on(clients.deleteClient),
    withdrawFromClient: on(grants.withdrawFromClient),
    withdrawGrant: on(grants.withdrawGrant),
    createJob: on(createJob),
    cancelJob: on(cancelJob),
    updatePolicy: on(updatePolicy),
    setTokenRule: on(setTokenRule),
    removeTokenRule: on(removeTokenRule),
    createWebhook: on(webhooks.createWebhook),
    updateWebhook: on(webhooks.updateWebhook),
    rotateWebhookSecret: on(webhooks.rotateWebhookSecret),
    deleteWebhook: on(webhooks.deleteWebhook),
    redeliver: on(webhooks.redeliver),
    /** As this transaction sees things, for steps that build on each other. */
    findGroup: on(groups.findGroup),
    userByName: async (name: string) => tx.users.byUsernameKey(nameKey(name)),
    groupByName: async (name: string) => tx.groups.byNameKey(nameKey(name)),
    membershipsOfUser: (id: UserId) => tx.groups.membershipsOfUser(id),
    membersOfGroup: (id: GroupId) => tx.groups.membershipsOfGroup(id),
  }
}

/** Tells of what the policy refused in `attempt`, once the refusal has undone everything else. */
export async function tellingViolations<T>(
  deps: Parameters<typeof recordViolation>[0],
  attempt: (refused: (violation: Violation) => void) => Promise<T>,
): Promise<T> {
  let violation: Violation | undefined
  try {
    return await attempt((each) => {
      violation = each
    })
  } catch (error) {
    if (violation !== undefined) await recordViolation(deps, violation)
    throw error
  }
}

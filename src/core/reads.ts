import { listAudit, listCheckpoints } from './audit/read.ts'
import { binder } from './bind.ts'
import * as clients from './clients/manage.ts'
import type { Deps } from './deps.ts'
import { eventsAfter, listEvents } from './events/read.ts'
import * as grants from './grants/manage.ts'
import * as groups from './groups/manage.ts'
import { readImport } from './imports/import.ts'
import * as jobs from './jobs/manage.ts'
import { listKeys } from './keys/list.ts'
import { listNodes } from './nodes/list.ts'
import * as roles from './roles/manage.ts'
import { getTree } from './tokens/children.ts'
import * as inventory from './tokens/inventory.ts'
import * as oauthTokens from './tokens/oauth-read.ts'
import * as reach from './tokens/reach.ts'
import * as tokens from './tokens/read.ts'
import { getRotation } from './tokens/rotation.ts'
import { tokenUse, useFigures } from './tokens/use-read.ts'
import * as users from './users/manage.ts'
import * as webhooks from './webhooks/manage.ts'

export type Reads = ReturnType<typeof readsOf>

/** What can be read. The functions say what each does and throws. */
export function readsOf(deps: Deps) {
  const on = binder(deps)
  return {
    token: on(tokens.getToken),
    tokenBySerial: on(tokens.getTokenBySerial),
    serialOfLineage: on(tokens.serialOfLineage),
    tokens: on(tokens.listTokens),
    tokensBySerial: on(tokens.listTokensBySerial),
    /** With those it comes from, and those that come from it. */
    tree: on(getTree),
    /** What a query in our own language means. */
    inventory: on(inventory.listInventory),
    inventoryCount: on(inventory.countInventory),
    inventoryFigures: on(inventory.inventoryFigures),
    /** A page of an export that `beginExport` began. */
    exportPage: on(inventory.pageOfQuery),
    use: on(tokenUse),
    useFigures: on(useFigures),
    rotation: on(getRotation),
    /** A token with the groups it reaches now; all of them, for the dialect without paging. */
    tokenReach: on(reach.getTokenReach),
    everyTokenReach: on(reach.everyTokenReach),
    /** What clients were given, for the dialect that lists it by client. */
    clientToken: on(oauthTokens.findClientToken),
    clientTokens: on(oauthTokens.listClientTokens),
    clientOfTokens: on(oauthTokens.findClientOfTokens),
    user: on(users.getUser),
    userByName: on(users.getUserByName),
    userBySerial: on(users.findUserBySerial),
    users: on(users.listUsers),
    group: on(groups.getGroup),
    groupByName: on(groups.getGroupByName),
    findGroup: binder(deps, deps.store)(groups.findGroup),
    groups: on(groups.listGroups),
    members: on(groups.listMembers),
    /** Everybody with memberships, for the dialect without paging. */
    everyUser: on(users.everyUser),
    everyGroup: on(groups.everyGroup),
    membershipsOfUser: on(users.membershipsOf),
    rolesOfUser: on(users.rolesOf),
    roles: on(roles.listRoles),
    /** By its id or its client id. */
    client: on(clients.getClient),
    clients: on(clients.listClients),
    grants: on(grants.listGrants),
    job: on(jobs.getJob),
    jobs: on(jobs.listJobs),
    import: on(readImport),
    keys: on(listKeys),
    nodes: on(listNodes),
    audit: on(listAudit),
    auditCheckpoints: on(listCheckpoints),
    events: on(listEvents),
    eventsAfter: on(eventsAfter),
    /** The number of the newest event. */
    lastEventId: () => deps.store.events.lastId(),
    webhooks: on(webhooks.listWebhooks),
    webhook: on(webhooks.getWebhook),
    deliveries: on(webhooks.listDeliveries),
    delivery: on(webhooks.getDelivery),
  }
}

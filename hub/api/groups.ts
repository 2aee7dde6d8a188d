import { z } from 'zod'
import { allows, filtersOf } from '../../packages/core/scopes.ts'
import type { Caller } from '../domain/access.ts'
import type { GroupFacts, Groups } from '../domain/groups.ts'
import { jsonObject } from './body.ts'
import { type Endpoint, empty, endpoint, json } from './endpoint.ts'
import { type PageLimits, pagedSchema, pageOf, pageQuery, paginated } from './paging.ts'

export interface GroupsApiDeps {
  readonly groups: Groups
  readonly pages: PageLimits
}

/** A group (wire section 3.3); what the caller may not see is left out. */
const groupSchema = z.object({
  kind: z.literal('group'),
  name: z.string(),
  users: z.array(z.string()).optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
  roles: z.array(z.string()).optional(),
})

const names = z.array(z.string().max(255)).max(10_000)
/** Clients send these along; the path says which group it is, and roles come from the config. */
const ignored = { name: z.string().optional(), roles: z.array(z.string()).optional() }
const newGroups = z.strictObject({ ...ignored, groups: names.min(1), users: names.default([]) })
const newGroup = z.strictObject({ ...ignored, users: names.default([]) })
const members = z.strictObject({ ...ignored, users: names })

/** Groups, their members and properties (wire section 2.8). */
export function groupEndpoints(deps: GroupsApiDeps): readonly Endpoint[] {
  return [...manyGroups(deps), ...oneGroup(deps), ...membership(deps)]
}

function manyGroups({ groups, pages }: GroupsApiDeps): readonly Endpoint[] {
  return [
    endpoint({
      method: 'GET',
      path: '/groups',
      summary: 'List groups',
      access: { scopes: ['list:groups'], on: 'list', filters: ['group'] },
      query: z.object(pageQuery),
      answers: { 200: pagedSchema(z.array(groupSchema)) },
      async handle({ caller, query, context }) {
        const page = pageOf(context, query, pages)
        const { group: only } = filtersOf(caller.scopes, 'list:groups')
        const narrowed = caller.scopes.has('list:groups') ? {} : { only }
        const { offset, limit } = page
        const found = await groups.page({ ...narrowed, offset, limit })
        const models = found.groups.map((group) => groupModel(group, caller))
        return json(paginated(context, models, page, found.total))
      },
    }),
    endpoint({
      method: 'POST',
      path: '/groups',
      summary: 'Create several groups with the same members',
      access: { scopes: ['admin:groups'], on: 'none' },
      body: newGroups,
      answers: { 201: z.array(groupSchema) },
      async handle({ caller, body }) {
        const made = await groups.create(body.groups, body.users, caller.name)
        const models = made.map((group) => groupModel(group, caller))
        return json(models, 201)
      },
    }),
  ]
}

function oneGroup({ groups }: GroupsApiDeps): readonly Endpoint[] {
  return [
    endpoint({
      method: 'GET',
      path: '/groups/:group',
      summary: 'Read a group',
      access: { scopes: ['read:groups', 'read:groups:name', 'read:roles:groups'], on: 'group' },
      answers: { 200: groupSchema },
      async handle({ caller, params }) {
        const group = await groups.byName(params.group)
        return json(groupModel(await groups.factsOf(group), caller))
      },
    }),
    endpoint({
      method: 'POST',
      path: '/groups/:group',
      summary: 'Create a group',
      access: { scopes: ['admin:groups'], on: 'group' },
      body: newGroup,
      answers: { 201: groupSchema },
      async handle({ caller, params, body }) {
        const [made] = await groups.create([params.group], body.users, caller.name)
        return json(made ? groupModel(made, caller) : null, 201)
      },
    }),
    endpoint({
      method: 'DELETE',
      path: '/groups/:group',
      summary: 'Delete a group; its members stay',
      access: { scopes: ['delete:groups'], on: 'group' },
      answers: { 204: 'It is gone' },
      async handle({ caller, params }) {
        await groups.delete(await groups.byName(params.group), caller.name)
        return empty(204)
      },
    }),
    endpoint({
      method: 'PUT',
      path: '/groups/:group/properties',
      summary: "Replace a group's properties",
      access: { scopes: ['groups'], on: 'group' },
      body: jsonObject,
      bodyRequired: true,
      answers: { 200: groupSchema },
      async handle({ caller, params, body }) {
        const group = await groups.byName(params.group)
        const changed = await groups.setProperties(group, body, caller.name)
        return json(groupModel(await groups.factsOf(changed), caller))
      },
    }),
  ]
}

function membership({ groups }: GroupsApiDeps): readonly Endpoint[] {
  const change = (method: 'POST' | 'DELETE', summary: string, verb: 'add' | 'remove'): Endpoint =>
    endpoint({
      method,
      path: '/groups/:group/users',
      summary,
      access: { scopes: ['groups'], on: 'group' },
      body: members,
      answers: { 200: groupSchema },
      async handle({ caller, params, body }) {
        const group = await groups.byName(params.group)
        await groups[verb](group, body.users, caller.name)
        return json(groupModel(await groups.factsOf(group), caller))
      },
    })
  return [
    change('POST', 'Add users to a group', 'add'),
    change('DELETE', 'Remove users from a group', 'remove'),
  ]
}

/** The group as this caller may see it. */
function groupModel(group: GroupFacts, { scopes }: Caller): Record<string, unknown> {
  const { name, users, properties, roles } = group
  const on = { kind: 'group', group: name } as const
  return {
    kind: 'group',
    name,
    ...(allows(scopes, 'read:groups', on) ? { users, properties } : {}),
    ...(allows(scopes, 'read:roles:groups', on) ? { roles } : {}),
  }
}

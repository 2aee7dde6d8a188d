import { z } from 'zod'
import { isCustomScopeName, scopeCatalogue, unknownScopes } from '../../packages/core/scopes.ts'
import type { Config } from '../config.ts'
import type { Check, Finding } from './checks.ts'
import { userNames } from './values.ts'

const roleName = z
  .string()
  .regex(
    /^[a-z][a-z0-9\-_~.]{1,253}[a-z0-9]$/,
    'is no name of a role: 3 to 255 of a-z, 0-9, - _ ~ and ., beginning with a letter, ending with a letter or digit',
  )

const groupName = z
  .string()
  .max(255)
  .refine((name) => name !== '' && name === name.trim(), {
    error: 'is no name of a group: it must not be empty or begin or end with a space',
  })

const scopes = z.array(z.string().min(1))

/** One entry of `hub.loadRoles`. A list of members that is given is the whole of them (JupyterHub: `load_roles`). */
export const roleSchema = z.strictObject({
  name: roleName,
  description: z.string().max(1023).optional(),
  scopes: scopes.optional(),
  users: userNames.optional(),
  groups: z.array(groupName).optional(),
  services: z.array(z.string().min(1)).optional(),
})

const groupSchema = z.strictObject({
  users: userNames.default([]),
  /** Replace those that the group has. */
  properties: z.record(z.string(), z.json()).optional(),
})

/** `hub.loadGroups`: a group's members, or its members and properties, by name. */
export const groupsSchema = z.record(
  groupName,
  z.union([userNames.transform((users) => ({ users, properties: undefined })), groupSchema], {
    error: 'must be a list of users, or { users, properties }',
  }),
)

const customScopeName = z
  .string()
  .refine(isCustomScopeName, 'is no name of a custom scope: custom:, then a-z 0-9 _ - * and :')

/** `hub.customScopes`: what each custom scope means and includes, by name. */
export const customScopesSchema = z.record(
  customScopeName,
  z.strictObject({
    description: z.string().min(1),
    /** Other custom scopes. */
    subscopes: z.array(customScopeName).optional(),
  }),
)

/** A role and a group as the config defines them. */
export type ConfiguredRole = z.output<typeof roleSchema>
export type ConfiguredGroups = z.output<typeof groupsSchema>

const exist: Check = {
  reads: [
    'hub.loadRoles',
    'hub.customScopes',
    'hub.extraUserScopes',
    'spawner.serverTokenScopes',
    'spawner.oauthClientAllowedScopes',
  ],
  *find({ hub, spawner: { base } }) {
    const catalogue = scopeCatalogue(hub.customScopes)
    const lists = [
      { path: 'hub.extraUserScopes', list: hub.extraUserScopes },
      { path: 'spawner.serverTokenScopes', list: base.serverTokenScopes },
      { path: 'spawner.oauthClientAllowedScopes', list: base.oauthClientAllowedScopes },
      ...hub.loadRoles.map(({ name, scopes: list = [] }, index) => ({
        path: `hub.loadRoles[${index}].scopes`,
        of: `the role ${name} `,
        list,
      })),
    ]
    for (const { path, list, ...of } of lists) {
      const unknown = unknownScopes(list, catalogue)
      const who = 'of' in of ? of.of : ''
      if (unknown.length > 0)
        yield { path, message: `${who}names scopes that do not exist: ${unknown.join(', ')}` }
    }
    for (const [name, { subscopes = [] }] of Object.entries(hub.customScopes)) {
      const unknown = subscopes.filter((sub) => !Object.hasOwn(hub.customScopes, sub))
      if (unknown.length > 0)
        yield {
          path: `hub.customScopes.${name}.subscopes`,
          message: `names custom scopes that are not defined: ${unknown.join(', ')}`,
        }
    }
  },
}

const definedOnce: Check = {
  reads: ['hub.loadRoles'],
  *find({ hub: { loadRoles } }) {
    for (const [index, role] of loadRoles.entries()) {
      const path = `hub.loadRoles[${index}]`
      if (loadRoles.findIndex(({ name }) => name === role.name) < index)
        yield { path, message: `the role ${role.name} is defined twice: make one entry of the two` }
      yield* adminRedefined(path, role)
    }
  },
}

function* adminRedefined(path: string, role: ConfiguredRole): Iterable<Finding> {
  if (role.name !== 'admin' || (role.scopes === undefined && role.description === undefined)) return
  yield {
    path,
    message: 'the role admin cannot be redefined: give it members only, or define another role',
  }
}

/** What is wrong with roles and scopes keeps the hub from starting. */
export const roleChecks: readonly Check[] = [exist, definedOnce]

/** Findings that are worth a warning: options that another one makes void. */
export const voidUserScopes: Check = {
  reads: ['hub.loadRoles', 'hub.extraUserScopes'],
  *find({ hub }: Config) {
    const user = hub.loadRoles.find(({ name }) => name === 'user')
    if (hub.extraUserScopes.length > 0 && user?.scopes)
      yield {
        path: 'hub.extraUserScopes',
        message: 'is ignored, since hub.loadRoles gives the role user its scopes',
      }
  },
}

// The guide's own JavaScript, word for word but for its two values, and what it is used for.
import { converse } from './conversation.mjs';

const { URL: url, TOKEN: token } = process.env;

const mcpClient = {
  baseUrl: url,
  token,

  async listWorkspaces() {
    const response = await fetch(`${this.baseUrl}/workspaces`, {
      headers: {
        'Authorization': `Bearer ${this.token}`,
        'Content-Type': 'application/json'
      }
    });
    return response.json();
  },

  async executeCommand(workspaceId, command) {
    const response = await fetch(`${this.baseUrl}/workspaces/${workspaceId}/execute`, {
      method: 'POST',
      headers: {
        'Authorization': `Bearer ${this.token}`,
        'Content-Type': 'application/json'
      },
      body: JSON.stringify({ command })
    });
    return response.json();
  }
};

await converse({
  listWorkspaces: () => mcpClient.listWorkspaces(),
  executeCommand: ([workspaceId, command]) => mcpClient.executeCommand(workspaceId, command),
});
